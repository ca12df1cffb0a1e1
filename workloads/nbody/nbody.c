/*
 * nbody: the Sun and the four giant planets, advanced by a symplectic
 * integrator with a fixed step of 0.01 days. Prints the energy of the system
 * before and after. Problem statement: the Computer Language Benchmarks Game.
 *
 * usage: nbody [steps]
 * Exit status: 0 done; 1 the output could not be written; 2 wrong arguments.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#define BODIES 5
#define PAIRS (BODIES * (BODIES - 1) / 2)
#define STEP 0.01
#define DEFAULT_STEPS 1000000u

#define SOLAR_MASS (4.0 * 3.141592653589793 * 3.141592653589793)
#define YEAR 365.24

/* Position in astronomical units, velocity in AU a day, mass in solar masses. */
struct start {
    double position[3];
    double velocity[3];
    double mass;
};

static const struct start start[BODIES] = {
    /* Sun */
    {{0.0, 0.0, 0.0}, {0.0, 0.0, 0.0}, 1.0},
    /* Jupiter */
    {{4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01},
     {1.66007664274403694e-03, 7.69901118419740425e-03, -6.90460016972063023e-05},
     9.54791938424326609e-04},
    /* Saturn */
    {{8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01},
     {-2.76742510726411899e-03, 4.99852801234917238e-03, 2.30417297573763929e-05},
     2.85885980666130812e-04},
    /* Uranus */
    {{1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01},
     {2.96460137564761618e-03, 2.37847173959480950e-03, -2.96589568540237556e-05},
     4.36624404335156298e-05},
    /* Neptune */
    {{1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01},
     {2.68067772490389322e-03, 1.62824170038242295e-03, -9.51592254519715870e-05},
     5.15138902046611451e-05},
};

static double px[BODIES], py[BODIES], pz[BODIES];
static double vx[BODIES], vy[BODIES], vz[BODIES];
static double mass[BODIES];

static void set_up(void)
{
    double mx = 0.0, my = 0.0, mz = 0.0;
    for (int i = 0; i < BODIES; i++) {
        px[i] = start[i].position[0];
        py[i] = start[i].position[1];
        pz[i] = start[i].position[2];
        vx[i] = start[i].velocity[0] * YEAR;
        vy[i] = start[i].velocity[1] * YEAR;
        vz[i] = start[i].velocity[2] * YEAR;
        mass[i] = start[i].mass * SOLAR_MASS;
        mx += vx[i] * mass[i];
        my += vy[i] * mass[i];
        mz += vz[i] * mass[i];
    }
    /* The Sun moves so that the momentum of the whole is zero. */
    vx[0] = -mx / SOLAR_MASS;
    vy[0] = -my / SOLAR_MASS;
    vz[0] = -mz / SOLAR_MASS;
}

static double energy(void)
{
    double sum = 0.0;
    for (int i = 0; i < BODIES; i++) {
        sum += 0.5 * mass[i] * (vx[i] * vx[i] + vy[i] * vy[i] + vz[i] * vz[i]);
        for (int j = i + 1; j < BODIES; j++) {
            double dx = px[i] - px[j], dy = py[i] - py[j], dz = pz[i] - pz[j];
            sum -= mass[i] * mass[j] / sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return sum;
}

static void advance(uint32_t steps)
{
    double dx[PAIRS], dy[PAIRS], dz[PAIRS], pull[PAIRS];

    for (; steps > 0; steps--) {
        int pair = 0;
        for (int i = 0; i < BODIES; i++) {
            for (int j = i + 1; j < BODIES; j++, pair++) {
                dx[pair] = px[i] - px[j];
                dy[pair] = py[i] - py[j];
                dz[pair] = pz[i] - pz[j];
            }
        }
        for (int k = 0; k < PAIRS; k++) {
            double square = dx[k] * dx[k] + dy[k] * dy[k] + dz[k] * dz[k];
            pull[k] = STEP / (square * sqrt(square));
        }
        pair = 0;
        for (int i = 0; i < BODIES; i++) {
            for (int j = i + 1; j < BODIES; j++, pair++) {
                double to_i = mass[j] * pull[pair], to_j = mass[i] * pull[pair];
                vx[i] -= dx[pair] * to_i;
                vy[i] -= dy[pair] * to_i;
                vz[i] -= dz[pair] * to_i;
                vx[j] += dx[pair] * to_j;
                vy[j] += dy[pair] * to_j;
                vz[j] += dz[pair] * to_j;
            }
        }
        for (int i = 0; i < BODIES; i++) {
            px[i] += STEP * vx[i];
            py[i] += STEP * vy[i];
            pz[i] += STEP * vz[i];
        }
    }
}

/* Reads a plain decimal number between min and max. Returns 0, or -1. */
static int parse(const char *text, uint32_t min, uint32_t max, uint32_t *value)
{
    uint64_t sum = 0;
    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        sum = sum * 10 + (uint64_t)(*text - '0');
        if (sum > max)
            return -1;
    }
    if (sum < min)
        return -1;
    *value = (uint32_t)sum;
    return 0;
}

int main(int argc, char **argv)
{
    uint32_t steps = DEFAULT_STEPS;

    if (argc > 2 || (argc == 2 && parse(argv[1], 0, 4000000000u, &steps) != 0)) {
        fputs("usage: nbody [steps], with steps between 0 and 4000000000\n", stderr);
        return 2;
    }
    set_up();
    printf("%.9f\n", energy());
    advance(steps);
    printf("%.9f\n", energy());
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("nbody: cannot write standard output\n", stderr);
        return 1;
    }
    return 0;
}
