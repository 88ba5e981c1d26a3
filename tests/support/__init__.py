"""What the tests share: files of models, objects of llama.cpp, programs in C, and child processes that may die."""
