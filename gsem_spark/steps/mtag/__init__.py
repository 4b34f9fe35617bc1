"""MTAG and the bound of its false discoveries."""
