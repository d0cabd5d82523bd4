/* json.c: writing JSON (RFC 8259), as much of it as we need. */
#include "tools/stackctl/stackctl.h"

static void comma(struct json *j) {
    if (j->more)
        fputc(',', j->to);
    j->more = true;
}

static void quoted(FILE *to, const char *s) {
    fputc('"', to);
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            fprintf(to, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            fprintf(to, "\\u%04x", *s);
        else
            fputc(*s, to);
    fputc('"', to);
}

void json_open(struct json *j, char bracket) {
    comma(j);
    fputc(bracket, j->to);
    j->more = false;
}

void json_close(struct json *j, char bracket) {
    fputc(bracket, j->to);
    j->more = true;
}

/* "key": the value is written next, by json_open. */
void json_key(struct json *j, const char *key) {
    comma(j);
    quoted(j->to, key);
    fputc(':', j->to);
    j->more = false;
}

void json_text(struct json *j, const char *key, const char *value) {
    json_key(j, key);
    quoted(j->to, value);
    j->more = true;
}

void json_number(struct json *j, const char *key, uint64_t value) {
    json_key(j, key);
    fprintf(j->to, "%llu", (unsigned long long)value);
    j->more = true;
}
