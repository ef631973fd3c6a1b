// What a compute pipeline asks of the device, read from its SPIR-V: a short reader for valid modules, and another one than
// that of the package under test.
#include "limits.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { VK_SUCCESS = 0, REQUIRE_FULL_SUBGROUPS = 2, REQUIRED_SUBGROUP_SIZE = 1000225001 };

typedef struct { uint32_t id, offset; size_t size; } SpecEntry;
typedef struct { uint32_t count; const SpecEntry *entries; size_t bytes; const char *data; } SpecInfo;
typedef struct { uint32_t type; const void *next; uint32_t size; } Required;
typedef struct {
	uint32_t type; const Required *next; uint32_t flags, stage; uint64_t module; const char *name; const SpecInfo *spec;
} Stage;
typedef struct { uint32_t type; const void *next; uint32_t flags; Stage stage; uint64_t layout, base; int32_t index; } PipelineInfo;

// The live shader modules.
typedef struct Module { struct Module *next; uint64_t handle; uint32_t count, words[]; } Module;
static Module *modules;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t last_subgroup_size;

void limits_keep_module(uint64_t handle, const ModuleInfo *m) {
	Module *new = malloc(sizeof *new + m->bytes);
	if (!new) abort();
	new->handle = handle;
	new->count = m->bytes / 4;
	memcpy(new->words, m->code, m->bytes);
	pthread_mutex_lock(&lock);
	new->next = modules;
	modules = new;
	pthread_mutex_unlock(&lock);
}

void limits_forget_module(uint64_t handle) {
	pthread_mutex_lock(&lock);
	for (Module **at = &modules; *at; at = &(*at)->next) {
		if ((*at)->handle != handle) continue;
		Module *old = *at;
		*at = old->next;
		free(old);
		break;
	}
	pthread_mutex_unlock(&lock);
}

// What is known of an id: the value of a constant, or the bytes of a type (of a pointer, of what it points to); 1 + its
// specialization id.
typedef struct { uint64_t value; uint32_t spec; } Id;

static uint64_t specialized(const SpecInfo *spec, const Id *id, uint32_t value) {
	for (uint32_t i = 0; spec && id->spec && i < spec->count; i++) {
		if (spec->entries[i].id == id->spec - 1) memcpy(&value, spec->data + spec->entries[i].offset, sizeof value);
	}
	return value;
}

static uint64_t operate(uint32_t op, uint64_t a, uint64_t b) {
	switch (op) {
	case 128: return a + b;
	case 130: return a - b;
	case 132: return a * b;
	case 134: return b ? a / b : 0;
	}
	return 0;
}

typedef struct { uint32_t local[3]; uint64_t shared; int32_t result; } Needs;

// Looks at the instruction, w its words: what it declares, and what that asks for.
static void look(const uint32_t *w, const SpecInfo *spec, Id *ids, uint32_t *workgroup, Needs *needs) {
	uint32_t count = w[0] >> 16;
	switch (w[0] & 0xffff) {
	case 16: if (w[2] == 17) memcpy(needs->local, &w[3], sizeof needs->local); break; // LocalSize
	case 17: if (needs->result == VK_SUCCESS) needs->result = limits_check_capability(w[1]); break;
	case 71: // OpDecorate
		if (w[2] == 1) ids[w[1]].spec = 1 + w[3];
		if (w[2] == 11 && w[3] == 25) *workgroup = w[1]; // BuiltIn WorkgroupSize
		break;
	case 20: ids[w[1]].value = 4; break;          // bool
	case 21: case 22: ids[w[1]].value = w[2] / 8; break; // int, float
	case 23: case 24: ids[w[1]].value = ids[w[2]].value * w[3]; break; // vector, matrix
	case 28: ids[w[1]].value = ids[w[2]].value * ids[w[3]].value; break; // array
	case 30: for (uint32_t i = 2; i < count; i++) ids[w[1]].value += ids[w[i]].value; break; // struct
	case 32: ids[w[1]].value = ids[w[3]].value; break; // pointer
	case 43: case 50: ids[w[2]].value = specialized(spec, &ids[w[2]], w[3]); break;
	case 44: case 51: // composite
		for (uint32_t i = 0; w[2] == *workgroup && i < 3; i++) needs->local[i] = ids[w[3 + i]].value;
		break;
	case 52: ids[w[2]].value = operate(w[3], ids[w[4]].value, count > 5 ? ids[w[5]].value : 0); break;
	case 59: if (w[3] == 4) needs->shared += ids[w[1]].value; break; // a variable of a workgroup
	}
}

int32_t limits_check_pipelines(uint32_t count, const void *infos) {
	const PipelineInfo *p = infos;
	int32_t result = VK_SUCCESS;
	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < count && result == VK_SUCCESS; i++) {
		const Stage *s = &p[i].stage;
		int required = s->next && s->next->type == REQUIRED_SUBGROUP_SIZE && (s->flags & REQUIRE_FULL_SUBGROUPS);
		last_subgroup_size = required ? s->next->size : 0;
		const Module *m = modules;
		while (m && m->handle != s->module) m = m->next;
		if (!m) abort();
		Id *ids = calloc(m->words[3], sizeof *ids);
		if (!ids) abort();
		Needs needs = {{1, 1, 1}, 0, VK_SUCCESS};
		uint32_t workgroup = 0;
		for (uint32_t at = 5; at < m->count; at += m->words[at] >> 16) look(&m->words[at], s->spec, ids, &workgroup, &needs);
		free(ids);
		result = needs.result == VK_SUCCESS ? limits_check_workgroup(needs.local, needs.shared) : needs.result;
	}
	pthread_mutex_unlock(&lock);
	return result;
}

uint32_t interpose_subgroup_size(void) { return last_subgroup_size; }
