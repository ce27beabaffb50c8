"""The service file that `oncall config init` writes."""

TEMPLATE = """\
# What oncall looks after, and where its backends are. Every backend is optional: what is not here is reported
# as "not configured", never as healthy. Check it with: oncall config check
#
# ${NAME} in any value is taken from the environment (write $${ for a literal ${ ). Secrets belong there,
# or for Postgres into a file that libpq reads (~/.pgpass, PGSERVICE).

default: my-service                  # used when -s/--service is not given

services:
  my-service:
    environment: production          # free text; shown in every header

    # Its own address: /metrics, /health, /health/db and /health/cache are below it.
    url: http://localhost:8000

    # Anything that speaks the Prometheus HTTP API: Prometheus, Thanos, Mimir, VictoriaMetrics.
    # prometheus:
    #   url: http://localhost:9090
    #   selector: {job: my-service}  # labels that all of its series have
    #   headers: {X-Scope-OrgID: my-team}
    #   bearer: "${PROMETHEUS_TOKEN}"          # or basic: {username: me, password: "${PROMETHEUS_PASSWORD}"}
    #   tls: {ca: /etc/ssl/my-ca.pem}          # and cert, key; verify: false trusts anybody
    # alertmanager: {url: http://localhost:9093}

    # A role that only looks: CREATE ROLE oncall LOGIN; GRANT pg_monitor TO oncall;
    # postgres:
    #   dsn: postgresql://oncall@localhost/my_database
    #   application_name: my-service           # which sessions are the service's
    #   reserve_dsn: postgresql://oncall_reserve@localhost/my_database   # for when no slot is left
    #   unit: postgresql@15-main               # what `remediate restart-database` restarts
    #   restart: {command: [patronictl, restart, my-cluster]}   # in place of the unit, where systemd does not run it

    # redis:
    #   url: "redis://:${REDIS_PASSWORD}@localhost:6379/0"
    #   cache: ["cache:"]                      # prefixes of keys that `remediate flush-cache` may remove
    #   protected: ["session:*"]               # patterns of keys that it never touches
    # ollama: {url: http://localhost:11434}

    # Where it runs: the systemd unit, or a log file and a command in place of it.
    # unit: my-service
    # logs: {file: /var/log/my-service.log}
    # restart: {command: [kubectl, rollout, restart, deployment/my-service]}
    # ssh: ops@app-1                           # systemctl and journalctl run there

    # What `oncall remediate` goes by: where the pool's size is written, and when nothing may be changed.
    # pool:
    #   file: /etc/my-service/config.yaml      # what `remediate resize-pool` edits
    #   key: database.pool_size                # the key within it
    #   format: yaml                           # or toml, ini, env, json, where the file's name does not tell
    #   instances: 2                           # how many processes read it, each with a pool of that size
    # cooldown: 5m                             # so long it is not restarted or flushed again
    # freeze:                                  # two moments, or two times of each week; all in UTC
    #   - {from: Fri 16:00, to: Mon 08:00, reason: weekend}
    #   - {from: 2026-12-23T12:00:00Z, to: 2027-01-02T08:00:00Z, reason: holidays}
    # announce: {slack: "${SLACK_WEBHOOK}"}    # plans and results of actions are posted there

    # What `oncall daily-check` looks at besides. A backup is a file, or of pgBackRest, Barman or the archiver of
    # Postgres, or a command of yours tells of it. Where there is nothing to keep: {none: the reason}, without names.
    # backups:
    #   nightly: {file: /backup/*.dump, within: 24h, least: 1MB}   # ssh: USER@HOST, where they are elsewhere
    #   base: {pgbackrest: main}               # a stanza; repo: 1, config: /etc/pgbackrest.conf
    #   cluster: {barman: my-server}
    #   wal: {postgres-archiver: true}         # asked through postgres.dsn
    #   bucket: {command: [/usr/local/bin/backup-state]}   # code 0 is well; it may say more as JSON:
    #                                          # {"finished": "2026-01-01T02:10:00Z", "size": 5000000, "ok": true}
    # certificates: ["example.org:443", "https://example.org", /etc/ssl/my-service.pem]

    # limits: {memory: 2GB, pool: 20, cpu: 2}
    # windows: {rate: 5m, baseline: 1h}        # rate window, and the quiet time to compare with
    # thresholds:                              # in place of what the runbooks ship
    #   error_ratio: {warning: 0.02, critical: 0.10}
    # signals:                                 # where your metrics have other names
    #   pool_active: {gauge: hikaricp_connections_active}
    # runbooks: runbooks                       # a folder of your own, below this file's
"""
