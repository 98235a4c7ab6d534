/* Numbers that belong to people: of cards, of telephones, of bank accounts. */
#ifndef SECRET_NUMBER_H
#define SECRET_NUMBER_H

/* What was found out about text further on. Begins as zeroes and belongs to one text that is read from the left to the right. */
struct number_memo {
    const char *run_end; /* of what numbers may be written with */
};

/* The end of the number that begins at `at`, or NULL. The character before it, `previous`, is no letter and no digit. The
 * text that is looked at is bounded. */
const char *secret_number(const char *at, const char *end, unsigned char previous,
                          struct number_memo *memo);

#endif
