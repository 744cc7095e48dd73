package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
)

// loopback is where the parts that only talk to each other listen.
const loopback = "127.0.0.1"

// clusterName is what the server's own sample configurations use.
const clusterName = "active"

// retention of closed workflows: long enough to look at last week's run.
const retention = 7 * 24 * time.Hour

// server is a started Temporal server.
type server struct {
	address string
	uiURL   string
	stop    func() error
}

// start brings up storage, the four Temporal services and the Web UI, in this
// order, and returns once the frontend serves.
func start(opts *options) (*server, error) {
	logger := newLogger(opts)
	attributes, err := parseSearchAttributes(opts.searchAttributes)
	if err != nil {
		return nil, err
	}
	dynamic, err := parseDynamicConfig(opts.dynamicConfig, logger)
	if err != nil {
		return nil, err
	}
	if err := requireFree(opts); err != nil {
		return nil, err
	}
	store, err := openStore(opts.dbFile)
	if err != nil {
		return nil, err
	}
	if err := createNamespaces(store, opts.namespaces, attributes); err != nil {
		return nil, err
	}
	cfg, hosts, err := serverConfig(opts, store)
	if err != nil {
		return nil, err
	}
	srv, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(logger),
		temporal.WithDynamicConfigClient(dynamic),
	)
	if err != nil {
		return nil, fmt.Errorf("configure the server: %w", err)
	}
	if err := srv.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	address := hosts[primitives.FrontendService].Self
	if err := addMissingSearchAttributes(address, opts.namespaces, attributes); err != nil {
		return nil, errors.Join(err, srv.Stop())
	}
	if opts.headless {
		return &server{address: address, stop: srv.Stop}, nil
	}
	ui := newUI(opts, address)
	// Start ends the process by itself if it cannot listen.
	go func() { _ = ui.Start() }()
	return &server{
		address: address,
		uiURL:   "http://" + hostPort(reachable(opts.uiIP), opts.uiPort),
		stop:    func() error { ui.Stop(); return srv.Stop() },
	}, nil
}

func newLogger(opts *options) log.Logger {
	if opts.logLevel == "never" {
		return log.NewNoopLogger()
	}
	format := "console"
	if opts.logFormat == "json" {
		format = "json"
	}
	return log.NewZapLogger(log.BuildZapLogger(log.Config{Level: opts.logLevel, Format: format}))
}

// requireFree turns a taken port into one sentence; the server itself would
// end in a stack of wrapped start-up failures.
func requireFree(opts *options) error {
	wanted := []struct {
		flag, ip string
		port     int
	}{{"--port", opts.ip, opts.port}}
	if !opts.headless {
		wanted = append(wanted, struct {
			flag, ip string
			port     int
		}{"--ui-port", opts.uiIP, opts.uiPort})
	}
	for _, w := range wanted {
		listener, err := net.Listen("tcp", hostPort(w.ip, w.port))
		if err != nil {
			return fmt.Errorf("cannot listen on %s: %w; choose another %s or stop what uses it", hostPort(w.ip, w.port), err, w.flag)
		}
		_ = listener.Close()
	}
	return nil
}

// freePorts returns n different free loopback ports.
func freePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range n {
		listener, err := net.Listen("tcp", hostPort(loopback, 0))
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		// Closed only on return: while held, no port is handed out twice.
		defer func() { _ = listener.Close() }()
		ports = append(ports, listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// openStore describes the database, and creates its schema if it lives in a file
// that has none. In memory, the server's SQLite plugin does that by itself.
func openStore(file string) (*config.SQL, error) {
	store := &config.SQL{PluginName: sqliteplugin.PluginName, MaxConns: 1, MaxIdleConns: 1}
	if file == "" {
		store.DatabaseName = "temporal-dev-" + strconv.FormatInt(rand.Int63(), 36)
		store.ConnectAttributes = map[string]string{"mode": "memory", "cache": "shared"}
		return store, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("--db-filename: %w", err)
	}
	if err := createSchema(file); err != nil {
		return nil, fmt.Errorf("--db-filename %s: %w", file, err)
	}
	store.DatabaseName = file
	// WAL with NORMAL survives a killed process; only a power cut may lose the
	// last commits, which is fine here and several times faster.
	store.ConnectAttributes = map[string]string{
		"mode": "rw", "journal_mode": "wal", "synchronous": "normal", "busy_timeout": "5000",
	}
	return store, nil
}

// createSchema makes all tables in one transaction, so that a process killed
// half-way leaves an empty file and not half a schema. The schema's version is
// kept in SQLite's user_version: Temporal has no migrations for SQLite.
func createSchema(file string) error {
	db, err := sql.Open(sqliteplugin.PluginName, "file:"+file+"?mode=rwc&_pragma=busy_timeout=5000")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()

	var tables, version int64
	if err := tx.QueryRow("SELECT count(*) FROM sqlite_master").Scan(&tables); err != nil {
		return err
	}
	if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if tables > 0 {
		if version != schemaVersion() {
			return errors.New("the file was written by another version of Temporal; delete it or give another one")
		}
		return nil
	}
	if err := sqliteschema.SetupSchemaOnDB(schemaTx{tx: tx}); err != nil {
		return err
	}
	if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", schemaVersion())); err != nil {
		return err
	}
	return tx.Commit()
}

func schemaVersion() int64 {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(sqliteschema.Version + "/" + sqliteschema.VisibilityVersion))
	return int64(hash.Sum32() >> 1) // user_version is a signed 32-bit number
}

// schemaTx lends SetupSchemaOnDB, which only executes statements, a transaction.
type schemaTx struct {
	sqlplugin.AdminDB
	tx *sql.Tx
}

func (s schemaTx) Exec(statement string, args ...any) error {
	_, err := s.tx.Exec(statement, args...)
	return err
}

// createNamespaces writes the namespaces straight into the database, because
// registering them through the API would make them usable only seconds later.
func createNamespaces(store *config.SQL, names []string, attributes map[string]enumspb.IndexedValueType) error {
	namespaces := make([]*sqliteschema.NamespaceConfig, 0, len(names))
	for _, name := range names {
		namespace, err := sqliteschema.NewNamespaceConfig(clusterName, name, false, attributes)
		if err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
		namespace.Detail.Config.Retention = durationpb.New(retention)
		namespaces = append(namespaces, namespace)
	}
	return sqliteschema.CreateNamespaces(store, namespaces...)
}

// serverConfig describes four services in one process. Hosts are static: there
// is nobody to gossip with, and joining a ring would only cost start-up time.
func serverConfig(opts *options, store *config.SQL) (*config.Config, map[primitives.ServiceName]static.Hosts, error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, nil, err
	}
	frontend := hostPort(reachable(opts.ip), opts.port)
	inner := func(port int) config.Service {
		return config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: loopback}}
	}
	cfg := &config.Config{
		Persistence: config.Persistence{
			DefaultStore:     "sqlite",
			VisibilityStore:  "sqlite",
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{"sqlite": {SQL: store}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		PublicClient:        config.PublicClient{HostPort: frontend},
		Services: map[string]config.Service{
			"frontend": {RPC: config.RPC{GRPCPort: opts.port, HTTPPort: ports[3], BindOnIP: opts.ip}},
			"history":  inner(ports[0]),
			"matching": inner(ports[1]),
			"worker":   inner(ports[2]),
		},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: config.ArchivalDisabled},
			Visibility: config.VisibilityArchival{State: config.ArchivalDisabled},
		},
		NamespaceDefaults: config.NamespaceDefaults{
			Archival: config.ArchivalNamespaceDefaults{
				History:    config.HistoryArchivalNamespaceDefaults{State: config.ArchivalDisabled},
				Visibility: config.VisibilityArchivalNamespaceDefaults{State: config.ArchivalDisabled},
			},
		},
	}
	if opts.metricsPort != 0 {
		cfg.Global.Metrics = &metrics.Config{Prometheus: &metrics.PrometheusConfig{
			ListenAddress: hostPort(opts.ip, opts.metricsPort),
			HandlerPath:   "/metrics",
		}}
	}
	hosts := map[primitives.ServiceName]static.Hosts{
		primitives.FrontendService: static.SingleLocalHost(frontend),
		primitives.HistoryService:  static.SingleLocalHost(hostPort(loopback, ports[0])),
		primitives.MatchingService: static.SingleLocalHost(hostPort(loopback, ports[1])),
		primitives.WorkerService:   static.SingleLocalHost(hostPort(loopback, ports[2])),
	}
	return cfg, hosts, nil
}

// parseDynamicConfig lays the given values over the defaults of this server.
func parseDynamicConfig(pairs []string, logger log.Logger) (dynamicconfig.Client, error) {
	values := dynamicconfig.StaticClient{
		dynamicconfig.WorkflowTimeSkippingEnabled.Key(): true,
		// Else a search attribute is unknown for a while after it was added.
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
		// One process gains nothing from partitioned task queues, and tasks
		// wait for being forwarded between them.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
	}
	var loader dynamicconfig.YamlLoader
	for _, pair := range pairs {
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("--dynamic-config-value %q is not key=value", pair)
		}
		loader.LoadValue(dynamicconfig.MakeKey(key), []byte("- value: "+value))
	}
	if err := loader.Err(); err != nil {
		return nil, fmt.Errorf("--dynamic-config-value: %w", err)
	}
	for _, warning := range loader.Warnings {
		// SDKs pass keys that newer servers have dropped: not an error.
		logger.Info("dynamic configuration", tag.Error(warning))
	}
	for key, value := range loader.Map {
		values[key] = value
	}
	return values, nil
}

func parseSearchAttributes(pairs []string) (map[string]enumspb.IndexedValueType, error) {
	attributes := make(map[string]enumspb.IndexedValueType, len(pairs))
	for _, pair := range pairs {
		name, kind, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("--search-attribute %q is not Name=Type", pair)
		}
		value, err := enumspb.IndexedValueTypeFromString(kind)
		if err != nil || value == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED {
			return nil, fmt.Errorf("--search-attribute %q: %q is not one of Bool, Datetime, Double, Int, Keyword, KeywordList, Text", pair, kind)
		}
		attributes[name] = value
	}
	return attributes, nil
}

// addMissingSearchAttributes covers a reused file whose namespaces were created
// with fewer attributes than are asked for now.
func addMissingSearchAttributes(address string, namespaces []string, attributes map[string]enumspb.IndexedValueType) error {
	if len(attributes) == 0 {
		return nil
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	defer func() { _ = connection.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()

	operator := operatorservice.NewOperatorServiceClient(connection)
	for _, namespace := range namespaces {
		known, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace}, grpc.WaitForReady(true))
		if err != nil {
			return fmt.Errorf("list the search attributes of %s: %w", namespace, err)
		}
		missing := map[string]enumspb.IndexedValueType{}
		for name, kind := range attributes {
			if has, found := known.CustomAttributes[name]; !found {
				missing[name] = kind
			} else if has != kind {
				return fmt.Errorf("search attribute %s of namespace %s is %s, not %s", name, namespace, has, kind)
			}
		}
		if len(missing) == 0 {
			continue
		}
		if _, err := operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: missing}); err != nil {
			return fmt.Errorf("add search attributes to %s: %w", namespace, err)
		}
	}
	return nil
}

func newUI(opts *options, frontend string) *uiserver.Server {
	return uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		TemporalGRPCAddress: frontend,
		Host:                opts.uiIP,
		Port:                opts.uiPort,
		EnableUI:            true,
		HideLogs:            true,
		DisableNewsFetch:    true,
		CORS:                uiconfig.CORS{CookieInsecure: true},
	}))
}

func hostPort(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }

// reachable is an address to connect to for one that is listened on.
func reachable(ip string) string {
	if parsed := net.ParseIP(ip); parsed != nil && parsed.IsUnspecified() {
		return loopback
	}
	return ip
}
