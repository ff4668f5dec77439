-- Roles of a new database (docs/database.md): one owns the tables and migrates, the other serves.
\set owner_password `cat /run/secrets/owner_password`
\set serving_password `cat /run/secrets/serving_password`
CREATE ROLE app_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE app LOGIN PASSWORD :'serving_password' CONNECTION LIMIT 80;
ALTER DATABASE app OWNER TO app_owner;
