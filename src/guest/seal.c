/* By hand and not by libseccomp: four comparisons, and no library that an image would need for them. */
#include "guest/seal.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define X32_BIT 0x40000000u /* of x86-64: its third table, with the same numbers */
#define I386_MEMFD_CREATE 356
#define ARM_MEMFD_CREATE 385

#if defined(__x86_64__)
#define OWN AUDIT_ARCH_X86_64
#define OTHER AUDIT_ARCH_I386
#define OTHER_MEMFD_CREATE I386_MEMFD_CREATE
#elif defined(__aarch64__)
#define OWN AUDIT_ARCH_AARCH64
#define OTHER AUDIT_ARCH_ARM
#define OTHER_MEMFD_CREATE ARM_MEMFD_CREATE
#endif

int seal_set(struct err *err)
{
#ifdef OWN
	struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OTHER, 3, 0),
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~X32_BIT),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 2, 3),
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OTHER_MEMFD_CREATE, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = countof(code), .filter = code};
	/* process 1 is root, so it need not give up new privileges, which its guests' programs may want */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return err_set(err, -errno, "this kernel takes no filter of system calls: %s", strerror(errno));
	return 0;
#else
	return err_set(err, -ENOSYS, "the numbers of this processor's system calls are not known here");
#endif
}
