package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// The line that the Rust SDK's test environment builds.
const sdkLine = "server start-dev --port 7999 --namespace default --ip 127.0.0.1 --log-format pretty --log-level warn" +
	" --dynamic-config-value frontend.enableServerVersionCheck=false --db-filename x.db --headless"

func TestParse(t *testing.T) {
	opts, err := parse(strings.Fields(sdkLine), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if opts.port != 7999 || opts.uiPort != 8999 || !opts.headless || opts.dbFile != "x.db" || opts.namespaces.String() != "default" {
		t.Errorf("wrong options: %+v", opts)
	}
	if opts, err := parse([]string{"--version"}, io.Discard); opts != nil || err != nil {
		t.Errorf("--version: %v, %v", opts, err)
	}
	var help strings.Builder
	if _, err := parse([]string{"server", "start-dev", "--help"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-db-filename") {
		t.Errorf("--help: %v, %q", err, help.String())
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"", "server", "server stop", "server start-dev extra", "server start-dev --nope",
		"server start-dev --port 0", "server start-dev --port 70000",
		"server start-dev --log-level loud", "server start-dev --log-format xml",
	} {
		if _, err := parse(strings.Fields(line), io.Discard); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
	for _, pair := range []string{"Name", "=Keyword", "Name=Nope", "Name=Unspecified"} {
		if _, err := parseSearchAttributes([]string{pair}); err == nil {
			t.Errorf("search attribute %q was accepted", pair)
		}
	}
	for _, pair := range []string{"key", "=true", "key={"} {
		if _, err := parseDynamicConfig([]string{pair}, newLogger(&options{logLevel: "never"})); err == nil {
			t.Errorf("dynamic configuration %q was accepted", pair)
		}
	}
}

func TestTakenPort(t *testing.T) {
	listener, err := net.Listen("tcp", hostPort(loopback, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	port := listener.Addr().(*net.TCPAddr).Port
	err = requireFree(&options{ip: loopback, port: port, headless: true})
	if err == nil || !strings.Contains(err.Error(), "--port") {
		t.Errorf("taken port: %v", err)
	}
}

// A file survives the server, gains search attributes at a later start, and
// workflows may skip time.
func TestServerOnFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "temporal.db")
	withServer(t, file, list{"First=Keyword"}, func(connection *grpc.ClientConn) {
		request := &workflowservice.StartWorkflowExecutionRequest{
			Namespace:          "default",
			WorkflowId:         "kept",
			RequestId:          "request",
			WorkflowType:       &commonpb.WorkflowType{Name: "any"},
			TaskQueue:          &taskqueuepb.TaskQueue{Name: "any"},
			TimeSkippingConfig: &commonpb.TimeSkippingConfig{Enabled: true},
		}
		if _, err := workflowservice.NewWorkflowServiceClient(connection).StartWorkflowExecution(t.Context(), request); err != nil {
			t.Fatalf("start with time skipping: %v", err)
		}
	})
	withServer(t, file, list{"First=Keyword", "Second=Datetime"}, func(connection *grpc.ClientConn) {
		description, err := workflowservice.NewWorkflowServiceClient(connection).DescribeWorkflowExecution(t.Context(),
			&workflowservice.DescribeWorkflowExecutionRequest{Namespace: "default", Execution: &commonpb.WorkflowExecution{WorkflowId: "kept"}})
		if err != nil || description.WorkflowExecutionInfo.Status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			t.Fatalf("the workflow did not survive: %v, %v", description, err)
		}
		attributes, err := operatorservice.NewOperatorServiceClient(connection).ListSearchAttributes(t.Context(),
			&operatorservice.ListSearchAttributesRequest{Namespace: "default"})
		if err != nil || attributes.CustomAttributes["Second"] != enumspb.INDEXED_VALUE_TYPE_DATETIME {
			t.Fatalf("search attributes: %v, %v", attributes, err)
		}
	})
}

func TestSchemaOfAnotherVersion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "temporal.db")
	if err := createSchema(file); err != nil {
		t.Fatal(err)
	}
	if err := createSchema(file); err != nil {
		t.Fatalf("second start: %v", err)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec("PRAGMA user_version = 7"); err != nil {
		t.Fatal(err)
	}
	if err := createSchema(file); err == nil {
		t.Error("a file of another version was accepted")
	}
}

func withServer(t *testing.T, file string, attributes list, use func(*grpc.ClientConn)) {
	t.Helper()
	ports, err := freePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := start(&options{
		ip: loopback, uiIP: loopback, port: ports[0], uiPort: ports[1], headless: true, dbFile: file,
		namespaces: list{"default"}, searchAttributes: attributes, logLevel: "never",
	})
	if err != nil {
		t.Fatal(err)
	}
	connection, err := grpc.NewClient(srv.address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	use(connection)
	_ = connection.Close()

	stopped := make(chan error, 1)
	go func() { stopped <- srv.stop() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	select {
	case err := <-stopped:
		if err != nil {
			t.Fatal(err)
		}
	case <-ctx.Done():
		t.Fatal("the server did not stop within 5 s")
	}
}
