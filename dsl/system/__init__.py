"""What a tree means: names, shapes and time settled, adjoints derived symbol to symbol; arrays are not known here."""
