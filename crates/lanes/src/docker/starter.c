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
 *   starter run FILE-LIMIT UID:GID:GROUP,... PROGRAM ARGUMENT...   runs a function
 *   starter wait                                      keeps a warm container alive
 *
 * A PROGRAM without a slash is searched in the PATH of the environment, by the
 * function's user.
 *
 * What it found goes, as one `struct report`, to the standard output that it
 * was started with. Mirrored in starter_report.rs: change both.
 *
 * What keeps the function, which may be hostile, from having a say in it:
 *  - it is another user without capabilities, so that it can neither stop nor
 *    kill the starter; the starter has just enough of them to become that user
 *    and to kill what the function leaves running. Only an image that wants to
 *    be root, or who records, makes it root, without capabilities: then it can
 *    kill the starter of a warm container, which tells of nothing any more;
 *  - the starter, process 1 of a warm container included, cannot be dumped: so
 *    nobody may trace it, open its memory or take its descriptors;
 *  - the report's descriptor is closed by exec;
 *  - the report bears a number that only this program and its caller know. It
 *    comes in the environment, which nobody else can read, and is gone from
 *    there before the function begins.
 *
 * Freestanding, since a C library would make it larger than most functions. */
#include <stdint.h>
#include <stddef.h>

#define FOLDER "/.cyclometer/"
enum { MAGIC = 0x63796373 };

/* What did not work; mirrored in starter_report.rs. */
enum { STAGE_OK, STAGE_USAGE, STAGE_FILES, STAGE_LIMITS, STAGE_FORK, STAGE_EXEC, STAGE_USER,
       STAGE_SEARCH, STAGE_LOADER };

/* What a function left that the next one in this container would find. */
enum { LEFT_PROCESSES = 1, LEFT_SHARED_FILES = 2, LEFT_QUEUES = 4, LEFT_SYSTEM_V = 8,
       LEFT_ATTRIBUTES = 16 };

enum { TOKEN_SIZE = 16 };

struct report {
    uint32_t magic, stage;
    int32_t error;  /* errno */
    int32_t status; /* as of wait(2) */
    uint8_t token[TOKEN_SIZE];
    uint64_t began_monotonic, began_realtime;
    uint64_t ended_monotonic, ended_realtime;
    uint64_t user_us, system_us; /* of the function alone */
    uint64_t stray; /* processes that it left running, killed since */
    uint64_t left;  /* LEFT_ bits */
    /* What the container's control group had used when the function began;
     * UNKNOWN where it cannot be read in here. */
    uint64_t cpu_ns, memory, memory_peak;
};
#define UNKNOWN UINT64_MAX

#if defined(__x86_64__)
enum { SYS_read = 0, SYS_write = 1, SYS_close = 3, SYS_rt_sigaction = 13, SYS_shmctl = 31,
       SYS_clone = 56, SYS_execve = 59, SYS_wait4 = 61,
       SYS_getpid = 39, SYS_kill = 62, SYS_semctl = 66,
       SYS_msgctl = 71, SYS_fcntl = 72, SYS_setgroups = 116, SYS_setresuid = 117,
       SYS_setresgid = 119, SYS_capset = 126, SYS_prctl = 157, SYS_listxattr = 194, SYS_getdents64 = 217,
       SYS_clock_gettime = 228, SYS_exit_group = 231, SYS_openat = 257, SYS_ppoll = 271,
       SYS_faccessat = 269, SYS_dup3 = 292, SYS_prlimit64 = 302, SYS_close_range = 436 };

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
enum { SYS_listxattr = 11, SYS_dup3 = 24, SYS_fcntl = 25, SYS_faccessat = 48, SYS_openat = 56, SYS_close = 57,
       SYS_getdents64 = 61, SYS_read = 63, SYS_write = 64, SYS_ppoll = 73, SYS_capset = 91, SYS_exit_group = 94,
       SYS_clock_gettime = 113, SYS_kill = 129, SYS_rt_sigaction = 134, SYS_setresuid = 147,
       SYS_setresgid = 149, SYS_setgroups = 159, SYS_prctl = 167, SYS_getpid = 172, SYS_msgctl = 187,
       SYS_semctl = 191, SYS_shmctl = 195, SYS_clone = 220, SYS_execve = 221, SYS_wait4 = 260,
       SYS_prlimit64 = 261, SYS_close_range = 436 };

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

/* Compilers may call these by themselves, even in a freestanding program; the
 * barriers keep them from making each a call of itself. */
void *memset(void *to, int byte, size_t count) {
    for (unsigned char *at = to; count--; at++) {
        *at = (unsigned char)byte;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}
void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    unsigned char *at = to;
    for (const unsigned char *source = from; count--; ) {
        *at++ = *source++;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

enum { O_RDONLY = 0, O_WRONLY = 1, F_DUPFD_CLOEXEC = 1030, AT_FDCWD = -100,
       RLIMIT_FSIZE = 1, RLIMIT_CORE = 4,
       CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1, CLOCK_THREAD_CPUTIME_ID = 3,
       PR_SET_PDEATHSIG = 1, PR_SET_DUMPABLE = 4, PR_SET_CHILD_SUBREAPER = 36,
       PR_CAPBSET_DROP = 24, MOST_GROUPS = 1000, MOST_PATH = 4096,
       SIGKILL = 9, SIGCHLD = 17, ENOENT = 2, EINTR = 4, ECHILD = 10, EACCES = 13, ENOTDIR = 20,
       EINVAL = 22, ENAMETOOLONG = 36, REPORT = 100,
       CLONE_VM = 0x100, CLONE_VFORK = 0x4000, WNOHANG = 1,
       MSG_INFO = 12, SHM_INFO = 14, SEM_INFO = 19,
       PR_SET_SECCOMP = 22, SECCOMP_MODE_FILTER = 2 };
#if defined(__x86_64__)
enum { SYS_mq_open = 240, ARCHITECTURE = (int)0xc000003e };
#else
enum { SYS_mq_open = 180, ARCHITECTURE = (int)0xc00000b7 };
#endif

/* A process that asked to be traced by its parent tells of its stops, too. */
#define IS_STOP(status) (((status) & 0xff) == 0x7f)

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
    if (file < 0 || file == at) return file;
    long result = CALL(dup3, file, at, 0, 0);
    CALL(close, file, 0, 0, 0);
    return result;
}

static uint64_t decimal(const char *c) {
    uint64_t value = 0;
    for (; *c >= '0' && *c <= '9'; c++) value = value * 10 + (uint64_t)(*c - '0');
    return value;
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
    return decimal(c);
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

/* Counts entries of a folder: all, or processes that are neither process 1 nor
 * this one. UNKNOWN where it cannot be read. */
static uint64_t count_entries(const char *path, uint64_t self) {
    static char entries[1024] __attribute__((aligned(8)));
    uint64_t count = 0;
    long size, folder = CALL(openat, AT_FDCWD, path, O_RDONLY, 0);
    if (folder < 0) return UNKNOWN;
    while ((size = CALL(getdents64, folder, entries, sizeof entries, 0)) > 0) {
        /* Each entry: inode, offset, length of the entry, kind, name. */
        for (long at = 0; at + 19 < size; at += *(uint16_t *)(entries + at + 16)) {
            const char *name = entries + at + 19;
            if (self) count += decimal(name) > 1 && decimal(name) != self;
            else count += !same(name, ".") && !same(name, "..");
        }
    }
    CALL(close, folder, 0, 0, 0);
    return size < 0 ? UNKNOWN : count;
}

static int holds_entries(const char *path) {
    uint64_t count = count_entries(path, 0);
    return count && count != UNKNOWN;
}

/* Kills and reaps what the function left running in this container, for which
 * we are process 1 or the subreaper. Processes of another parent are killed
 * too: in a container that waits, nothing else runs. One signal to all reaches
 * those that fork all the time as well; where a sandbox has it otherwise, they
 * are signalled again until they are gone, for 5 s at most. Not every sandbox
 * gives them to us to be reaped: /proc has them all. */
static void reap_strays(struct report *r) {
    static const int64_t pause[2] = {0, 200000};
    const uint64_t deadline = clock(CLOCK_MONOTONIC) + 5000000000u;
    const uint64_t self = (uint64_t)CALL(getpid, 0, 0, 0, 0);
    int32_t status = 0;
    long pid;
    /* What had ended by itself was not left running. */
    do pid = CALL(wait4, -1, 0, WNOHANG, 0);
    while (pid > 0 || pid == -EINTR);
    uint64_t others = count_entries("/proc", self);
    const uint64_t seen = others == UNKNOWN ? 0 : others;
    while (pid != -ECHILD || (others && others != UNKNOWN)) {
        CALL(kill, -1, SIGKILL, 0, 0);
        pid = CALL(wait4, -1, &status, WNOHANG, 0);
        if (pid > 0) {
            r->stray += !IS_STOP(status);
            continue;
        }
        if (clock(CLOCK_MONOTONIC) > deadline) {
            r->left |= LEFT_PROCESSES;
            break;
        }
        others = count_entries("/proc", self);
        if (pid == 0 || others) CALL(ppoll, 0, 0, pause, 0);
    }
    if (!r->stray) r->stray = seen;
}

/* Whether a file has attributes that anybody may set who can write it. */
static int has_attributes(const char *path) {
    static char names[1024];
    long size = CALL(listxattr, path, names, sizeof names - 5, 0);
    if (size < 0) return size == -34 /* ERANGE: there are many */;
    for (long at = 0; at < size; at++) {
        const char *name = names + at;
        if ((at == 0 || !name[-1]) && name[0] == 'u' && name[1] == 's' && name[2] == 'e' &&
            name[3] == 'r' && name[4] == '.')
            return 1;
    }
    return 0;
}

/* What the next function in this container would find of this one. Objects of
 * System V are asked for by number: /proc need not be there. */
static uint64_t left_behind(void) {
    static int info[32];
    uint64_t left = 0;
    if (holds_entries("/dev/shm")) left |= LEFT_SHARED_FILES;
    if (holds_entries("/dev/mqueue")) left |= LEFT_QUEUES;
    if (CALL(shmctl, 0, SHM_INFO, info, 0) >= 0 && info[0]) left |= LEFT_SYSTEM_V;
    if (CALL(semctl, 0, 0, SEM_INFO, info) >= 0 && info[7]) left |= LEFT_SYSTEM_V;
    if (CALL(msgctl, 0, MSG_INFO, info, 0) >= 0 && info[0]) left |= LEFT_SYSTEM_V;
    if (has_attributes(FOLDER "out") || has_attributes(FOLDER "err")) left |= LEFT_ATTRIBUTES;
    return left;
}

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes the number that the report must bear out of the environment. */
static void take_token(struct report *r, char **environment) {
    static const char name[] = "CYCLOMETER_TOKEN=";
    char **to = environment;
    for (char **from = environment; *from; from++) {
        char *c = *from;
        const char *key = name;
        while (*key && *c == *key) c++, key++;
        if (*key) {
            *to++ = *from;
            continue;
        }
        for (int i = 0; i < TOKEN_SIZE && digit(c[0]) >= 0 && digit(c[1]) >= 0; i++, c += 2) {
            r->token[i] = (uint8_t)(digit(c[0]) << 4 | digit(c[1]));
            c[0] = c[1] = 0;
        }
    }
    *to = 0;
}

/* Reads a decimal number, and the character after it if there is any. */
static uint64_t take_number(const char **c) {
    uint64_t value = decimal(*c);
    while (**c >= '0' && **c <= '9') ++*c;
    if (**c) ++*c;
    return value;
}

/* Gives up all capabilities, those that a program of root would get included. */
static long drop_capabilities(void) {
    static const uint32_t version[2] = {0x20080522, 0}, none[6];
    long result = 0;
    for (int capability = 0; result >= 0 && capability < 64; capability++)
        result = CALL(prctl, PR_CAPBSET_DROP, capability, 0, 0);
    /* There is no capability of that number. */
    if (result < 0 && result != -EINVAL) return result;
    return CALL(capset, version, none, 0, 0);
}

/* Becomes the user that the function runs as: UID:GID:GROUP,... The function's
 * process shares our memory until its exec, and this makes memory dumpable
 * again, if the machine is set so. */
static long become(const char *text) {
    static uint32_t groups[MOST_GROUPS];
    const uint64_t user = take_number(&text), group = take_number(&text);
    int count = 0;
    long result;
    while (*text && count < MOST_GROUPS) groups[count++] = (uint32_t)take_number(&text);
    if ((result = CALL(setgroups, count, groups, 0, 0)) < 0) return result;
    if ((result = CALL(setresgid, group, group, group, 0)) < 0) return result;
    if (user == 0 && (result = drop_capabilities()) < 0) return result;
    if ((result = CALL(setresuid, user, user, user, 0)) < 0) return result;
    return CALL(prctl, PR_SET_DUMPABLE, 0, 0, 0);
}

/* Executes a file. One that is there, and still is not found, lacks what runs it. */
static long execute_file(const char *path, char **argv, char **environment,
                         volatile uint32_t *stage) {
    long result = CALL(execve, path, argv, environment, 0);
    if (result == -ENOENT && CALL(faccessat, AT_FDCWD, path, 0, 0) == 0) *stage = STAGE_LOADER;
    return result;
}

/* Executes the program of that name, as execvp(3) does, but no shell where the
 * file is no program. */
static long search(char **argv, char **environment, volatile uint32_t *stage) {
    static char path[MOST_PATH];
    const char *folders = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    long result = -ENOENT;
    for (const char *c = argv[0]; *c; c++)
        if (*c == '/') return execute_file(argv[0], argv, environment, stage);
    for (char **at = environment; *at; at++)
        if ((*at)[0] == 'P' && (*at)[1] == 'A' && (*at)[2] == 'T' && (*at)[3] == 'H' &&
            (*at)[4] == '=')
            folders = *at + 5;
    for (;; folders++) {
        size_t length = 0;
        for (; *folders && *folders != ':'; folders++)
            if (length < MOST_PATH) path[length++] = *folders;
        /* No folder is the one that it starts in. */
        if (!length) path[length++] = '.';
        if (length < MOST_PATH) path[length++] = '/';
        for (const char *c = argv[0]; *c && length < MOST_PATH; c++) path[length++] = *c;
        if (length < MOST_PATH) {
            path[length] = 0;
            long error = execute_file(path, argv, environment, stage);
            if (*stage == STAGE_LOADER) return error;
            if (error == -EACCES) result = error;
            else if (error != -ENOENT && error != -ENOTDIR && error != -ENAMETOOLONG) return error;
        }
        if (!*folders) break;
    }
    if (result == -ENOENT) *stage = STAGE_SEARCH;
    return result;
}

/* Lets no message queues be made where nobody could find them again: gVisor has
 * queues, and no folder of them. Not elsewhere, since each system call of the
 * function would pay for it. */
static void forbid_hidden_queues(void) {
    static const struct { uint16_t code; uint8_t yes, no; uint32_t value; } filter[] = {
        {0x20, 0, 0, 4},                      /* the architecture */
        {0x15, 0, 3, (uint32_t)ARCHITECTURE}, /* if it is this one, */
        {0x20, 0, 0, 0},                      /* the number of the call; */
        {0x15, 0, 1, SYS_mq_open},            /* if it is this one, */
        {0x06, 0, 0, 0x50000 | 38},           /* ENOSYS, */
        {0x06, 0, 0, 0x7fff0000},             /* else let it pass */
    };
    static const struct { uint16_t length; const void *filter; } program = {6, filter};
    long queues = CALL(openat, AT_FDCWD, "/dev/mqueue", O_RDONLY, 0);
    if (queues >= 0) CALL(close, queues, 0, 0, 0);
    else CALL(prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0);
}

/* Runs the function's program, as its user. What does not work is in `error`
 * and `stage`, which the caller sees: they share their memory until exec. */
static void execute(char **argv, char **environment, int can_stay, volatile uint32_t *stage,
                    volatile long *error) {
    *stage = STAGE_USER;
    if ((*error = become(argv[3])) < 0) return;
    /* After that: the kernel forgets it when a process becomes another user. */
    CALL(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    if (can_stay) forbid_hidden_queues();
    *stage = STAGE_EXEC;
    *error = search(argv + 4, environment, stage);
}

static _Noreturn void run(char **argv, char **environment) {
    static struct report r = {.magic = MAGIC};
    static volatile long error;
    static volatile uint32_t stage;
    struct usage used = {{0, 0}, {0, 0}, {0}};
    /* A container that has run its function is gone else: there is no next. */
    const int is_warm = CALL(getpid, 0, 0, 0, 0) != 1;
    long result = 0, ended;
    int32_t status = 0;
    /* Away from 0 to 2, and closed by exec. */
    if (CALL(fcntl, 1, F_DUPFD_CLOEXEC, REPORT, 0) != REPORT) CALL(exit_group, 125, 0, 0, 0);
    CALL(prctl, PR_SET_DUMPABLE, 0, 0, 0);
    CALL(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0);
    take_token(&r, environment);
    if (!argv[2] || !argv[3] || !argv[4]) fail(&r, STAGE_USAGE, 0);
    if ((result = set_file(FOLDER "in", O_RDONLY, 0)) < 0 ||
        (result = set_file(FOLDER "out", O_WRONLY, 1)) < 0 ||
        (result = set_file(FOLDER "err", O_WRONLY, 2)) < 0)
        fail(&r, STAGE_FILES, result);
    /* Whatever else the engine's runtime left open is not for the function. */
    CALL(close_range, 3, REPORT - 1, 0, 0);
    CALL(close_range, REPORT + 1, ~0u, 0, 0);
    if ((result = limit(RLIMIT_CORE, 0)) < 0 ||
        (result = limit(RLIMIT_FSIZE, decimal(argv[2]))) < 0)
        fail(&r, STAGE_LIMITS, result);
    read_group(&r);
    r.began_monotonic = clock(CLOCK_MONOTONIC);
    r.began_realtime = clock(CLOCK_REALTIME);
    long pid = CALL(clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0);
    if (pid == 0) {
        execute(argv, environment, is_warm, &stage, &error);
        for (;;) CALL(exit_group, 127, 0, 0, 0);
    }
    if (pid < 0) fail(&r, STAGE_FORK, pid);
    /* Others that fall to us meanwhile would keep their place among the
     * processes that a container may have. */
    do ended = CALL(wait4, -1, &status, 0, &used);
    while (ended == -EINTR || (ended > 0 && (ended != pid || IS_STOP(status))));
    r.status = status;
    r.ended_monotonic = clock(CLOCK_MONOTONIC);
    r.ended_realtime = clock(CLOCK_REALTIME);
    if (error) fail(&r, stage, error);
    r.user_us = (uint64_t)used.user[0] * 1000000u + (uint64_t)used.user[1];
    r.system_us = (uint64_t)used.system[0] * 1000000u + (uint64_t)used.system[1];
    reap_strays(&r);
    if (is_warm) r.left |= left_behind();
    leave(&r, r.status & 0x7f ? 128 + (r.status & 0x7f) : (r.status >> 8) & 0xff);
}

/* Process 1 of a warm container, until it is killed. Children that fall to it
 * are nobody's: ignoring them lets the kernel reap them. */
static _Noreturn void wait_for_ever(void) {
    CALL(prctl, PR_SET_DUMPABLE, 0, 0, 0);
    /* Not every sandbox heeds that for files. */
    for (int file = 0; file < 3; file++) CALL(close, file, 0, 0, 0);
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
