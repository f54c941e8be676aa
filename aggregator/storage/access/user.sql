-- Made anew or replaced, so that a password is changed by doing it again. Only a salted hash leaves this machine.
CREATE USER OR REPLACE @name(user) @on_cluster
IDENTIFIED WITH sha256_hash BY {hash:String} SALT {salt:String}
DEFAULT ROLE @name(role);
GRANT @on_cluster @name(role) TO @name(user);
