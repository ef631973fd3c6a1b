// Devices that are used again: a GPU's driver takes a tenth of a second to make one, and most tests want one of their own.
#include "limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES_2 = 1000059000 };

typedef struct Chain { uint32_t type; const struct Chain *next; uint32_t features[55]; } Chain;
typedef struct {
	uint32_t type; const Chain *next; uint32_t flags, queue_count; const void *queues; uint32_t layer_count; const void *layers;
	uint32_t extension_count; const char *const *extensions;
} DeviceInfo;

typedef struct Kept { struct Kept *next; void *device; uint64_t key; int idle; } Kept;
static Kept *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int wanted;
static int64_t spared;

int64_t interpose_reuse_devices(void) {
	__atomic_store_n(&wanted, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&spared, __ATOMIC_SEQ_CST);
}

static uint64_t hash(uint64_t key, const void *data, size_t bytes) { // FNV-1a
	for (const unsigned char *p = data; bytes > 0; bytes--) key = (key ^ *p++) * 0x100000001b3;
	return key;
}

// What devices have in common that can stand for each other: what they are of, and what is enabled. Of the structs of extensions
// the first feature tells, which this module enables where any.
static uint64_t key_of(void *physical, const DeviceInfo *info) {
	uint64_t key = hash(0xcbf29ce484222325, &physical, sizeof physical);
	for (uint32_t i = 0; i < info->extension_count; i++) key = hash(key, info->extensions[i], strlen(info->extensions[i]) + 1);
	for (const Chain *c = info->next; c; c = c->next) {
		key = hash(key, &c->type, sizeof c->type);
		key = hash(key, c->features, c->type == FEATURES_2 ? sizeof c->features : sizeof *c->features);
	}
	return key;
}

// reuse_take returns an idle device made as info says, or NULL.
void *reuse_take(void *physical, const void *info) {
	if (!__atomic_load_n(&wanted, __ATOMIC_SEQ_CST)) return NULL;
	uint64_t key = key_of(physical, info);
	void *device = NULL;
	pthread_mutex_lock(&lock);
	for (Kept *k = all; k && !device; k = k->next) {
		if (!k->device || !k->idle || k->key != key) continue;
		k->idle = 0;
		device = k->device;
		__atomic_fetch_add(&spared, 1, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&lock);
	return device;
}

// reuse_made remembers how a new device was made.
void reuse_made(void *physical, const void *info, void *device) {
	if (!__atomic_load_n(&wanted, __ATOMIC_SEQ_CST)) return;
	Kept *k = malloc(sizeof *k);
	if (!k) abort();
	*k = (Kept){NULL, device, key_of(physical, info), 0};
	pthread_mutex_lock(&lock);
	k->next = all;
	all = k;
	pthread_mutex_unlock(&lock);
}

// reuse_keep says whether a device is kept, which nothing uses any more, instead of being destroyed.
int reuse_keep(void *device) {
	int kept = 0;
	pthread_mutex_lock(&lock);
	for (Kept *k = all; k; k = k->next) {
		if (k->device == device) kept = k->idle = 1;
	}
	pthread_mutex_unlock(&lock);
	return kept;
}

// reuse_forget is for a device that is lost.
void reuse_forget(void *device) {
	pthread_mutex_lock(&lock);
	for (Kept *k = all; k; k = k->next) {
		if (k->device == device) k->device = NULL;
	}
	pthread_mutex_unlock(&lock);
}
