"""A snapshot as OpenShift v2 made it: v2_snapshot.py BARE-REPOSITORY OUT.tar.gz: of the application `oldapp`, with a
deployment, hidden files and the dumps of PostgreSQL 9.2, MySQL 5.5 and MongoDB in v2's form."""
import gzip, io, os, sys, tarfile

U = "./0123456789abcdef0123456789abcdef"
ROLE = "adminabcd12"
DEPLOYMENT = "2014-03-01_10-11-12.123"
PG = rf"""--
-- PostgreSQL database cluster dump
--
\connect postgres
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
DROP DATABASE oldapp;
DROP ROLE "{ROLE}";
CREATE ROLE "{ROLE}";
ALTER ROLE "{ROLE}" WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN NOREPLICATION PASSWORD 'md50123456789abcdef0123456789abcdef';
CREATE DATABASE oldapp WITH TEMPLATE = template0 OWNER = "{ROLE}" ENCODING = 'UTF8' LC_COLLATE = 'en_US.UTF-8' LC_CTYPE = 'en_US.UTF-8';
REVOKE ALL ON DATABASE template1 FROM PUBLIC;
REVOKE ALL ON DATABASE template1 FROM postgres;
GRANT ALL ON DATABASE template1 TO postgres;
GRANT CONNECT ON DATABASE template1 TO PUBLIC;
\connect oldapp
SET statement_timeout = 0;
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;
SET search_path = public, pg_catalog;
SET default_with_oids = false;
CREATE TABLE note (t text);
ALTER TABLE public.note OWNER TO "{ROLE}";
CREATE TABLE odd (t abstime);
CREATE SEQUENCE theirs;
ALTER TABLE public.theirs OWNER TO postgres;
COPY note (t) FROM stdin;
by v2
\.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM postgres;
GRANT ALL ON SCHEMA public TO postgres;
GRANT ALL ON SCHEMA public TO PUBLIC;
\connect template1
SET statement_timeout = 0;
COMMENT ON DATABASE template1 IS 'default template for new databases';
"""
MYSQL = """-- MySQL dump 10.13  Distrib 5.5.41, for Linux (x86_64)
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET NAMES utf8 */;
CREATE DATABASE /*!32312 IF NOT EXISTS*/ `mysql` /*!40100 DEFAULT CHARACTER SET latin1 */;

USE `mysql`;
DROP TABLE IF EXISTS `user`;
CREATE TABLE `user` (`Host` char(60) NOT NULL DEFAULT '', `User` char(16) NOT NULL DEFAULT '') ENGINE=MyISAM;
INSERT INTO `user` VALUES ('%','adminabcd12');

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `oldapp` /*!40100 DEFAULT CHARACTER SET latin1 */;

USE `oldapp`;
DROP TABLE IF EXISTS `t`;
CREATE TABLE `t` (
  `x` text
) ENGINE=InnoDB DEFAULT CHARSET=latin1;
LOCK TABLES `t` WRITE;
INSERT INTO `t` VALUES ('by v2: USE `oldapp`');
UNLOCK TABLES;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`adminabcd12`@`%` SQL SECURITY DEFINER */
/*!50001 VIEW `seen` AS select `t`.`x` AS `x` from `t` */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
"""
DATA = {
    "note": b"of the user\n", ".hidden": b"secret\n",
    "postgresql_dump_snapshot.gz": gzip.compress(PG.encode()), "postgresql_db_username": ROLE.encode() + b"\n", "postgresql_db_dbname": b"oldapp\n",
    "postgresql_db_uuid": U[2:].encode() + b"\n", "postgresql_version": b"9.2\n",
    "mysql_dump_snapshot.gz": gzip.compress(MYSQL.encode()), "mysql_db_host": b"127.1.244.1\n", "mysql_db_dbname": b"oldapp\n", "mysql_db_username": ROLE.encode() + b"\n",
    "mongodb_dump_snapshot.tar.gz": gzip.compress(b"x"), "mongodb_dump_old_db_name.txt": b"oldapp\n",
}


def main(repository, out):
    with tarfile.open(out, "w:gz", format=tarfile.GNU_FORMAT) as t:
        def put(path, data=b"", kind=tarfile.REGTYPE, link=""):
            i = tarfile.TarInfo(f"{U}/{path}" if path else U + "/")
            i.type, i.linkname, i.size, i.mode = kind, link, len(data), 0o755 if kind == tarfile.DIRTYPE else 0o640
            i.uid = i.gid = 1004
            t.addfile(i, io.BytesIO(data))

        put("", kind=tarfile.DIRTYPE)
        put(".env/OPENSHIFT_APP_NAME", b"oldapp")
        put("app-root/data/", kind=tarfile.DIRTYPE)
        for name, data in DATA.items():
            put("app-root/data/" + name, data)
        put("app-root/repo", kind=tarfile.SYMTYPE, link="runtime/repo")
        put("app-root/runtime/data", kind=tarfile.SYMTYPE, link="../data")
        put(f"app-deployments/{DEPLOYMENT}/repo/wsgi.py", b"what was built there\n")
        put(f"app-deployments/{DEPLOYMENT}/metadata.json", b'{"git_ref":"master","git_sha1":"0000000","id":"1a2b3c4d","hot_deploy":null,"force_clean_build":null,"activations":[1393668672.5],"checksum":"x"}')
        put("app-deployments/by-id/1a2b3c4d", kind=tarfile.SYMTYPE, link="../" + DEPLOYMENT)
        put("app-deployments/current", kind=tarfile.SYMTYPE, link=DEPLOYMENT)
        put("postgresql/conf/postgresql.conf", b"port = 5432\n")
        put("postgresql/data/PG_VERSION", b"9.2\n")
        t.add(repository, U + "/git/oldapp.git")


main(*sys.argv[1:])
