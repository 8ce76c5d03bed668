"""One file per kind of file that people have: each turns a `RawFile` into documents."""
