#pragma once
/* The closed list of what the engine may ask of this actuator, and how each is carried out. Blocking; on workers only. */
#include "act/vm/vm.h"

/* Checks the order against our own configuration, carries it out, reads back, fills the answer (id, status, text, took). */
void vm_order_carry(struct vm *vm, const struct wire_order *order, struct wire_answer *ret_answer);

/* Seconds rather than milliseconds. */
bool vm_order_slow(uint32_t type);

/* Another guest of ours runs now: what boots must stay within its share. */
bool vm_others_run(struct vm *vm, const char *name);

/* Asks libvirt nothing, so that nothing can hold it up. */
bool vm_order_alone(uint32_t type);

/* The other files' orders. `ret_answer->text` says what was done when 0 comes back. */
int vm_create(struct vm *vm, const struct wire_order *order, struct wire_answer *ret_answer, struct err *err) must_use;
int vm_channel(struct vm *vm, const struct wire_order *order, struct wire_answer *ret_answer, struct err *err) must_use;
int vm_cap(struct vm *vm, const struct wire_order *order, struct wire_answer *ret_answer, struct err *err) must_use;
int vm_reset(struct vm *vm, const struct wire_order *order, struct wire_answer *ret_answer, struct err *err) must_use;
int vm_evidence(struct vm *vm, const struct wire_order *order, struct wire_answer *ret_answer, struct err *err) must_use;
