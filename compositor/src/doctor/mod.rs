//! What guests need of this host: each check says whether it is fine, what it costs if not, and how to mend it.
