// A driver that prefers numbers to NaN, as Vulkan allows and GPUs do: of max, min and clamp with a NaN the result is the
// other operand, and x < c ? c : x is taken for max(x, c). Modules are rewritten to say so.
#include "limits.h"

#include <stdlib.h>
#include <string.h>

enum {
	EXT_INST_IMPORT = 11, EXT_INST = 12, FUNCTION_CALL = 57, LOAD = 61, STORE = 62, COMPOSITE = 80, SELECT = 169,
	LESS = 184, UNORDERED_LESS, GREATER, UNORDERED_GREATER, // of floats
	LESS_EQUAL, UNORDERED_LESS_EQUAL, GREATER_EQUAL, UNORDERED_GREATER_EQUAL,
	FMIN = 37, FMAX = 40, FCLAMP = 43, NMIN = 79, NMAX = 80, NCLAMP = 81, // of GLSL.std.450; N: of a NaN and a number the number
};

static int prefers_numbers;

void interpose_prefer_numbers(int on) { __atomic_store_n(&prefers_numbers, on, __ATOMIC_SEQ_CST); }

// Which instruction chooses the first operand of a comparison where that holds, and else the second.
static uint32_t chooses(uint32_t comparison) {
	switch (comparison) {
	case LESS: case UNORDERED_LESS: case LESS_EQUAL: case UNORDERED_LESS_EQUAL: return NMIN;
	case GREATER: case UNORDERED_GREATER: case GREATER_EQUAL: case UNORDERED_GREATER_EQUAL: return NMAX;
	}
	return 0;
}

// The instruction that has an id as its result, NULL for those that don't matter; and how many had written memory before it.
typedef struct { const uint32_t *words; uint32_t writes; } Id;

static int same(const Id *ids, uint32_t a, uint32_t b) {
	if (a == b) return 1;
	const uint32_t *x = ids[a].words, *y = ids[b].words;
	if (!x || !y || x[0] != y[0] || x[1] != y[1]) return 0;
	if ((x[0] & 0xffff) == LOAD) return x[3] == y[3] && ids[a].writes == ids[b].writes;
	if ((x[0] & 0xffff) != COMPOSITE) return 0;
	for (uint32_t i = 3; i < x[0] >> 16; i++) {
		if (!same(ids, x[i], y[i])) return 0;
	}
	return 1;
}

// Appends an instruction, w its words.
static uint32_t *append(uint32_t *to, const uint32_t *w, uint32_t glsl, const Id *ids) {
	uint32_t count = w[0] >> 16, op = w[0] & 0xffff;
	memcpy(to, w, 4 * count);
	if (op == EXT_INST && w[3] == glsl) {
		if (w[4] == FMIN) to[4] = NMIN;
		if (w[4] == FMAX) to[4] = NMAX;
		if (w[4] == FCLAMP) to[4] = NCLAMP;
	}
	const uint32_t *condition = op == SELECT && glsl ? ids[w[3]].words : NULL;
	uint32_t chosen = condition ? chooses(condition[0] & 0xffff) : 0;
	if (chosen) {
		int straight = same(ids, w[4], condition[3]) && same(ids, w[5], condition[4]);
		int swapped = same(ids, w[4], condition[4]) && same(ids, w[5], condition[3]);
		if (swapped) chosen = NMIN + NMAX - chosen;
		if (straight || swapped) {
			const uint32_t call[] = {7 << 16 | EXT_INST, w[1], w[2], glsl, chosen, w[4], w[5]};
			memcpy(to, call, sizeof call);
			return to + 7;
		}
	}
	return to + count;
}

// nan_rewrite returns the module as such a driver takes it, in memory of its own, or NULL for the module as it is.
uint32_t *nan_rewrite(const uint32_t *code, size_t *bytes) {
	if (!__atomic_load_n(&prefers_numbers, __ATOMIC_SEQ_CST)) return NULL;
	uint32_t count = *bytes / 4, glsl = 0, writes = 0;
	Id *ids = calloc(code[3], sizeof *ids);
	uint32_t *out = malloc(2 * *bytes);
	if (!ids || !out) abort();
	for (uint32_t at = 5; at < count; at += code[at] >> 16) {
		uint32_t op = code[at] & 0xffff;
		if (op == EXT_INST_IMPORT && strcmp((const char *)&code[at + 2], "GLSL.std.450") == 0) glsl = code[at + 1];
		if (op == STORE || op == FUNCTION_CALL) writes++;
		if (op == LOAD || op == COMPOSITE || chooses(op)) ids[code[at + 2]] = (Id){&code[at], writes};
	}
	memcpy(out, code, 20);
	uint32_t *end = out + 5;
	for (uint32_t at = 5; at < count; at += code[at] >> 16) end = append(end, &code[at], glsl, ids);
	free(ids);
	*bytes = 4 * (size_t)(end - out);
	return out;
}
