"""The commands of the language, each module listing its own in `COMMANDS`; `tgseq` puts them under one name."""
