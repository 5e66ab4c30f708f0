#!/bin/sh
# Whatever a package asks for: the processor's baseline, not the very processor that it is compiled on.
for word; do
    shift
    case $word in
        -march=* | -mtune=*) ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec "$SPIKECRATE_COMPILER" "$@"
