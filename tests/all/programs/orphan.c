/* Leaves a process in a session of its own that uses 200 ms of CPU time, by its
 * own clock, and then waits to be killed. The function ends when it has. */
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>

static long used_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(void) {
    int done[2];
    char byte = 0;
    if (pipe(done)) return 2;
    if (fork() == 0) {
        setsid();
        if (fork()) _exit(0);
        for (volatile long i = 0; used_ms() < 200;)
            for (int k = 0; k < 1000000; k++) i++;
        if (write(done[1], &byte, 1) != 1) _exit(3);
        for (;;) pause();
    }
    return read(done[0], &byte, 1) != 1;
}
