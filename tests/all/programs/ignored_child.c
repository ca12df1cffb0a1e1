/* A child uses 200 ms of CPU time, and its parent ignores that it ends: the
 * kernel keeps no account of it. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    signal(SIGCHLD, SIG_IGN);
    if (fork() == 0) {
        struct timespec t;
        volatile long i = 0;
        do {
            for (int k = 0; k < 1000000; k++) i++;
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        } while (t.tv_sec == 0 && t.tv_nsec < 200000000);
        _exit(0);
    }
    wait(NULL); /* returns when there is no child any more */
    return 0;
}
