"""The parts of `make demo`: the box as a child process, chats, a failure, and a look at what is left."""
