/* lib_empty.c: keeps the library non-empty. */
