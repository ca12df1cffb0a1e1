/* Processes that make processes: see the modes. To be run in a container, which
 * may have few of them. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One process after the other, each of which ends when it has made the next. */
static void comet(void) {
    if (fork()) return;
    setsid();
    prctl(PR_SET_PDEATHSIG, 0);
    for (;;)
        if (fork() > 0) _exit(0);
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "";
    if (!strcmp(mode, "for-ever"))
        for (;;) fork();
    if (!strcmp(mode, "and-return") && fork() == 0) {
        setsid();
        for (;;) fork();
    }
    if (!strcmp(mode, "comets"))
        for (int n = 0; n < 4; n++) comet();
    usleep(200000);
    return 0;
}
