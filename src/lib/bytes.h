#pragma once
/* Small byte and text helpers: hex, bounded copies, whole-file reads with a limit, the clock. */
#include "lib/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes 2*size lowercase digits and a NUL; `ret_text` must hold 2*size+1. */
void bytes_to_hex(const uint8_t *bytes, size_t size, char *ret_text);

/* Reads exactly 2*size hex digits and the end of the text. False (and nothing touched) when `text` is anything else. */
bool bytes_from_hex(const char *text, uint8_t *ret_bytes, size_t size);

/* Copies with a NUL, cutting if need be. Returns false when it had to cut. `size` > 0. */
bool text_copy(char *to, size_t size, const char *from);

/* Reads a whole file of at most `max` bytes into a new buffer with a NUL behind it (not counted). Caller frees. */
int file_read(const char *path, size_t max, uint8_t **ret_bytes, size_t *ret_size, struct err *err) must_use;

/* Writes to a new name beside `path`, fsyncs, renames into place, fsyncs the folder. */
int file_write(const char *path, const void *bytes, size_t size, unsigned mode, struct err *err) must_use;

/* Makes the folder, or takes the one that is there: from now on nobody but its owner enters, which is us. -EPERM: it is not. */
int folder_private(const char *path, struct err *err) must_use;

/* Whoever owns the folder can enter and change it, whatever else its mode says. */
int folder_of_owner(int folder, struct err *err) must_use;

/* Microseconds. Monotonic: for intervals, the same clock in all processes of this boot. Real: since 1970, for people. */
int64_t clock_monotonic_us(void);
int64_t clock_real_us(void);
