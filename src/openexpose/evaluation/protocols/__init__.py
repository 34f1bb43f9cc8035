"""One module a data set, whose ``protocol`` says how the field measures on it; and what several of them share."""
