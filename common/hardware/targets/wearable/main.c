/* program N INPUTS OUTPUTS [TIMES]: run N inferences on the same input, write the outputs and,
 * where asked, nanoseconds of each inference. Without TIMES no clock is read. */
static int transfer(const char *path, const char *mode, int writing) {
    FILE *file = fopen(path, mode);
    if (!file) return perror(path), 1;
    for (size_t i = 0; i < sizeof PORTS / sizeof *PORTS; i++) {
        if (PORTS[i].output != writing) continue;
        const size_t done = writing ? fwrite(PORTS[i].data, 1, PORTS[i].bytes, file)
                                    : fread(PORTS[i].data, 1, PORTS[i].bytes, file);
        if (done != PORTS[i].bytes) return fprintf(stderr, "%s is too short\n", path), 1;
    }
    return fclose(file);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc < 4) return fprintf(stderr, "usage: %s N INPUTS OUTPUTS [TIMES]\n", argv[0]), 2;
    const long runs = atol(argv[1]);
    if (transfer(argv[2], "rb", 0)) return 1;
    FILE *times = argc > 4 ? fopen(argv[4], "wb") : NULL;
    if (argc > 4 && !times) return perror(argv[4]), 1;
    for (long n = 0; n < runs; n++) {
        const int64_t begin = times ? now() : 0;
        infer();
        if (times) {
            const int64_t taken = now() - begin;
            fwrite(&taken, sizeof taken, 1, times);
        }
    }
    if (times && fclose(times)) return perror(argv[4]), 1;
    return transfer(argv[3], "wb", 1);
}
