/* Numbers that belong to people: of cards, of telephones, of bank accounts. */
#ifndef SECRET_NUMBER_H
#define SECRET_NUMBER_H

/* The end of the number that begins at `at`, or NULL. The character before it, `previous`, is no letter and no digit. The
 * text that is looked at is bounded. */
const char *secret_number(const char *at, const char *end, unsigned char previous);

#endif
