"""Problems: what a backend can be asked, as data, and the strategies that draw it."""
