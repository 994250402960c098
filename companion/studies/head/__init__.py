"""Real megavolt X-rays of a head: the registrations, and a simulated head in the files of the real one."""
