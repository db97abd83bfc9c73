/* Checks the installed readline and history libraries without a terminal:
   history expansion, a round trip through a file, and tilde expansion. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <readline/history.h>
#include <readline/readline.h>

static void
check (int holds, const char *what)
{
  if (!holds)
    {
      fprintf (stderr, "check-history: failed: %s\n", what);
      exit (1);
    }
}

int
main (void)
{
  char *expansion = NULL;

  check (RL_VERSION_MAJOR == 8 && rl_readline_version == RL_READLINE_VERSION,
         "header and library have the same version");

  using_history ();
  add_history ("make zlib");
  add_history ("make lua");
  check (history_length == 2, "two lines are remembered");
  check (history_expand ("!!:s/lua/jq/", &expansion) == 1, "an event is expanded");
  check (strcmp (expansion, "make jq") == 0, "the expansion is the edited last line");
  free (expansion);

  check (write_history ("history.txt") == 0, "the history is written");
  clear_history ();
  check (read_history ("history.txt") == 0 && history_length == 2, "and read again");
  check (strcmp (history_get (history_base)->line, "make zlib") == 0, "in order");

  setenv ("HOME", "/home/of/nobody", 1);
  char *path = tilde_expand ("~/notes");
  check (strcmp (path, "/home/of/nobody/notes") == 0, "a tilde becomes the home");
  free (path);

  puts ("check-history: all checks hold");
  return 0;
}
