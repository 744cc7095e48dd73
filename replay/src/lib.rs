//! What would have happened: recorded tickets and decisions, looked at again.
