//! Takes names of users and hosts out of facts before they are shown to others.
