"""Five small applications, as users write them. Type checkers must find no error and no unknown type in them."""
