/* cyclometer's starter: the first program of every container of the docker
 * lane, beside the function in its image.
 *
 * Why it is there:
 *  - the function's standard files are files of the host, mounted into the
 *    container: output passes through neither shim nor engine, whose work
 *    would be paid for by the function's time;
 *  - it knows when the function began and ended, to the microsecond, where the
 *    engine only knows when it noticed;
 *  - it can read what the container's control group has used just before the
 *    function begins;
 *  - a container's process 1 ignores signals that it has no handler for, such
 *    as those of abort(): the function is an ordinary process here.
 *
 *   starter run FILE-LIMIT PROGRAM ARGUMENT...   runs a function
 *   starter wait                                 keeps a warm container alive
 *
 * What it found goes, as one `struct report`, to the standard output that it
 * was started with, which the function never sees: it is closed by exec, and
 * nobody in the container may look into a process that cannot be dumped.
 * Mirrored in report.rs: change both.
 *
 * Freestanding, since a C library would make it larger than most functions. */
#include <stdint.h>
#include <stddef.h>

#define FOLDER "/.cyclometer/"
enum { MAGIC = 0x63796373 };

/* What did not work; mirrored in report.rs. */
enum { STAGE_OK, STAGE_USAGE, STAGE_FILES, STAGE_LIMITS, STAGE_FORK, STAGE_EXEC };

struct report {
    uint32_t magic, stage;
    int32_t error;  /* errno */
    int32_t status; /* as of wait(2) */
    uint64_t began_monotonic, began_realtime;
    uint64_t ended_monotonic, ended_realtime;
    uint64_t user_us, system_us; /* of the function alone */
    uint64_t stray; /* processes that it left behind, killed since */
    /* What the container's control group had used when the function began;
     * UNKNOWN where it cannot be read in here. */
    uint64_t cpu_ns, memory, memory_peak;
};
#define UNKNOWN UINT64_MAX

#if defined(__x86_64__)
enum { SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_rt_sigaction = 13, SYS_clone = 56, SYS_execve = 59, SYS_wait4 = 61,
       SYS_kill = 62, SYS_fcntl = 72, SYS_prctl = 157, SYS_clock_gettime = 228,
       SYS_exit_group = 231, SYS_openat = 257, SYS_ppoll = 271, SYS_dup3 = 292,
       SYS_prlimit64 = 302 };

static inline long call6(long n, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n hlt\n");
#elif defined(__aarch64__)
enum { SYS_dup3 = 24, SYS_fcntl = 25, SYS_openat = 56, SYS_close = 57, SYS_read = 63, SYS_write = 64, SYS_ppoll = 73,
       SYS_exit_group = 94, SYS_clock_gettime = 113, SYS_kill = 129, SYS_rt_sigaction = 134,
       SYS_prctl = 167, SYS_clone = 220, SYS_execve = 221, SYS_wait4 = 260,
       SYS_prlimit64 = 261 };

static inline long call6(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x0, sp\n bl begin\n");
#else
#error "the docker lane's starter knows x86-64 and AArch64"
#endif
#define CALL(n, a, b, c, d) \
    call6(SYS_##n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

enum { O_RDONLY = 0, O_WRONLY = 1, F_DUPFD_CLOEXEC = 1030, AT_FDCWD = -100,
       RLIMIT_FSIZE = 1, RLIMIT_CORE = 4, CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1,
       CLOCK_THREAD_CPUTIME_ID = 3,
       PR_SET_PDEATHSIG = 1, PR_SET_DUMPABLE = 4, PR_SET_CHILD_SUBREAPER = 36,
       SIGKILL = 9, SIGCHLD = 17, ENOENT = 2, EINTR = 4, REPORT = 100,
       CLONE_VM = 0x100, CLONE_VFORK = 0x4000 };

struct usage { int64_t user[2], system[2], rest[14]; };

static uint64_t clock(int which) {
    int64_t t[2] = {0, 0};
    CALL(clock_gettime, which, t, 0, 0);
    return (uint64_t)t[0] * 1000000000u + (uint64_t)t[1];
}

static _Noreturn void leave(struct report *r, int code) {
    CALL(write, REPORT, r, sizeof *r, 0);
    for (;;) CALL(exit_group, code, 0, 0, 0);
}

static _Noreturn void fail(struct report *r, uint32_t stage, long result) {
    r->stage = stage;
    r->error = (int32_t)-result;
    leave(r, result == -ENOENT ? 127 : 126);
}

static int same(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

static long limit(int what, uint64_t value) {
    uint64_t both[2] = {value, value};
    return CALL(prlimit64, 0, what, both, 0);
}

static long set_file(const char *path, int flags, int at) {
    long file = CALL(openat, AT_FDCWD, path, flags, 0);
    /* Left open at its own number only if it is that one already. */
    return file < 0 || file == at ? file : CALL(dup3, file, at, 0, 0);
}

/* The number after `key` at the beginning of a file. */
static uint64_t number(const char *path, const char *key) {
    char text[64];
    long file = CALL(openat, AT_FDCWD, path, O_RDONLY, 0);
    if (file < 0) return UNKNOWN;
    long size = CALL(read, file, text, sizeof text - 1, 0);
    CALL(close, file, 0, 0, 0);
    if (size <= 0) return UNKNOWN;
    text[size] = 0;
    const char *c = text;
    while (*key && *c == *key) c++, key++;
    if (*key || *c < '0' || *c > '9') return UNKNOWN;
    uint64_t value = 0;
    for (; *c >= '0' && *c <= '9'; c++) value = value * 10 + (uint64_t)(*c - '0');
    return value;
}

/* What the control group of this container has used by now. Engines mount it
 * here: the controllers of v1 one by one, or the whole of v2. Accounting lags
 * behind what runs by up to a tick; asking for our own CPU time ends the lag. */
static void read_group(struct report *r) {
#define GROUP "/sys/fs/cgroup/"
    clock(CLOCK_THREAD_CPUTIME_ID);
    r->cpu_ns = number(GROUP "cpuacct/cpuacct.usage", "");
    if (r->cpu_ns == UNKNOWN) {
        uint64_t micros = number(GROUP "cpu.stat", "usage_usec ");
        if (micros != UNKNOWN) r->cpu_ns = micros * 1000;
    }
    r->memory = number(GROUP "memory/memory.usage_in_bytes", "");
    if (r->memory == UNKNOWN) r->memory = number(GROUP "memory.current", "");
    r->memory_peak = number(GROUP "memory/memory.max_usage_in_bytes", "");
    if (r->memory_peak == UNKNOWN) r->memory_peak = number(GROUP "memory.peak", "");
}

/* Kills and reaps what the function left running in this container, for which
 * we are process 1 or the subreaper. Processes of another parent are killed
 * too: in a container that waits, nothing else runs. */
static uint64_t reap_strays(void) {
    uint64_t count = 0;
    CALL(kill, -1, SIGKILL, 0, 0);
    for (long pid; (pid = CALL(wait4, -1, 0, 0, 0)) > 0 || pid == -EINTR;) count += pid > 0;
    return count;
}

static _Noreturn void run(char **argv, char **environment) {
    static struct report r = {.magic = MAGIC};
    static volatile long error; /* the child shares our memory */
    struct usage used = {{0, 0}, {0, 0}, {0}};
    long result = 0;
    uint64_t most = 0;
    /* Away from 0 to 2, and closed by exec. */
    if (CALL(fcntl, 1, F_DUPFD_CLOEXEC, REPORT, 0) != REPORT) CALL(exit_group, 125, 0, 0, 0);
    CALL(prctl, PR_SET_DUMPABLE, 0, 0, 0);
    CALL(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0);
    if (!argv[2] || !argv[3]) fail(&r, STAGE_USAGE, 0);
    for (const char *c = argv[2]; *c >= '0' && *c <= '9'; c++) most = most * 10 + (uint64_t)(*c - '0');
    if ((result = set_file(FOLDER "in", O_RDONLY, 0)) < 0 ||
        (result = set_file(FOLDER "out", O_WRONLY, 1)) < 0 ||
        (result = set_file(FOLDER "err", O_WRONLY, 2)) < 0)
        fail(&r, STAGE_FILES, result);
    if ((result = limit(RLIMIT_CORE, 0)) < 0 || (result = limit(RLIMIT_FSIZE, most)) < 0)
        fail(&r, STAGE_LIMITS, result);
    read_group(&r);
    r.began_monotonic = clock(CLOCK_MONOTONIC);
    r.began_realtime = clock(CLOCK_REALTIME);
    long pid = CALL(clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0);
    if (pid == 0) {
        CALL(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
        error = CALL(execve, argv[3], argv + 3, environment, 0);
        for (;;) CALL(exit_group, 127, 0, 0, 0);
    }
    if (pid < 0) fail(&r, STAGE_FORK, pid);
    do result = CALL(wait4, pid, &r.status, 0, &used);
    while (result == -EINTR);
    r.ended_monotonic = clock(CLOCK_MONOTONIC);
    r.ended_realtime = clock(CLOCK_REALTIME);
    if (error) fail(&r, STAGE_EXEC, error);
    r.user_us = (uint64_t)used.user[0] * 1000000u + (uint64_t)used.user[1];
    r.system_us = (uint64_t)used.system[0] * 1000000u + (uint64_t)used.system[1];
    r.stray = reap_strays();
    leave(&r, r.status & 0x7f ? 128 + (r.status & 0x7f) : (r.status >> 8) & 0xff);
}

/* Process 1 of a warm container, until it is killed. Children that fall to it
 * are nobody's: ignoring them lets the kernel reap them. */
static _Noreturn void wait_for_ever(void) {
    static const uint64_t ignore[4] = {1 /* SIG_IGN */, 0, 0, 0};
    call6(SYS_rt_sigaction, SIGCHLD, (long)ignore, 0, 8, 0, 0);
    for (;;) CALL(ppoll, 0, 0, 0, 0);
}

__attribute__((used)) _Noreturn void begin(long *stack) {
    char **argv = (char **)(stack + 1);
    char **environment = argv + stack[0] + 1;
    if (stack[0] > 1 && same(argv[1], "wait")) wait_for_ever();
    if (stack[0] > 1 && same(argv[1], "run")) run(argv, environment);
    for (;;) CALL(exit_group, 125, 0, 0, 0);
}
