// The records of runs, a column for each curve, and what is computed from them.

const names = ["loss", "val_loss", "lr", "grad_norm", "tokens_per_s", "elapsed_s"];

export class Run {
  constructor(name) {
    this.name = name;
    this.config = [];
    this.clear();
  }

  clear() {
    this.step = [];
    for (const name of names) this[name] = [];
  }

  // append adds records. One of the step of the record before it, such as the evaluation
  // with which a run goes on, completes that one.
  append(records) {
    for (let i = 0; i < records.step.length; i++) {
      const end = this.step.length;
      const again = end > 0 && this.step[end - 1] === records.step[i];
      if (!again) this.step.push(records.step[i]);
      for (const name of names) {
        const value = records[name][i];
        if (!again) this[name].push(value);
        else if (value != null) this[name][end - 1] = value;
      }
    }
  }

  // along returns where the records are on an axis, null where that is not known.
  along(axis) {
    if (axis === "time") return this.elapsed_s;
    if (axis === "step") return this.step;
    const config = new Map(this.config);
    const each = ["batch_size", "context_len", "grad_accum"].reduce((n, name) => n * config.get(name), 1);
    return this.step.map((s) => (each > 0 ? s * each : null));
  }

  last(name) { return this[name].findLast((x) => x != null); }
}

// smoothed is the exponential moving average of what was measured, without the pull of a start at 0.
export function smoothed(column, weight) {
  let sum = 0, mass = 0;
  return column.map((x) => {
    if (x == null) return null;
    sum = weight * sum + (1 - weight) * x;
    mass = weight * mass + (1 - weight);
    return sum / mass;
  });
}

// measured leaves out the records without a value, or without a place on the axis.
export function measured(places, column) {
  const x = [], y = [];
  column.forEach((value, i) => {
    if (value != null && places[i] != null) {
      x.push(places[i]);
      y.push(value);
    }
  });
  return [x, y];
}
