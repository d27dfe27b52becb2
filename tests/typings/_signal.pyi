# The C module under signal, which hot modules import because signal itself imports enum.
from signal import *  # noqa: F403
