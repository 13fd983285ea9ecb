#pragma once
/* Compiler attributes that the code leans on, spelled once. */

#include <stdlib.h>
#include <unistd.h>

#define must_use __attribute__((warn_unused_result))
#define printf_like(text, first) __attribute__((__format__(__printf__, text, first)))
#define unused_arg __attribute__((unused))

/* AddressSanitizer takes terabytes of address space: no limit on that may be set below it. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define UNDER_ASAN
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define UNDER_ASAN
#endif

/* Number of elements of an array (not of a pointer). */
#define countof(array) (sizeof(array) / sizeof((array)[0]))

static inline void attr_free_cleanup(void *p)
{
	free(*(void **)p);
}

static inline void attr_close_cleanup(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* A local that is freed (closed) when it goes out of scope; `take` (`take_fd`) marks the moment it moves elsewhere. */
#define auto_free __attribute__((cleanup(attr_free_cleanup)))
#define auto_close __attribute__((cleanup(attr_close_cleanup)))

#define take(p)                                                                                                                  \
	__extension__({                                                                                                          \
		__typeof__(*(p)) taken_ = *(p);                                                                                  \
		*(p) = NULL;                                                                                                     \
		taken_;                                                                                                          \
	})

static inline int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}
