#include <expat.h>
#include <stdio.h>

int main(void)
{
    return printf("hello from a program with %s\n", XML_ExpatVersion()) < 0;
}
