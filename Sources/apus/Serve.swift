import ArgumentParser
import CApusPlatform
import Logging
import MQTTCore
import MQTTJournal
import MQTTPackets
import MQTTServer
import MQTTStore
import ServiceLifecycle

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the broker.",
        discussion: """
            Listens on this machine alone, at port 1883, unless told otherwise. SIGTERM and SIGINT end it, SIGUSR1 \
            prints a summary.

            Limits, each set with --limit name=value:
            \(LimitOption.help)
            """
    )

    @Option(name: .shortAndLong, parsing: .unconditional, help: "The TCP port to listen on; 0 lets the system choose.")
    var port: Int = 1883

    @Option(help: "The address to listen on. localhost is 127.0.0.1 and ::1.")
    var host: String = "localhost"

    @Option(help: "The folder of the broker's data; it is made if it is not there.")
    var data: String?

    @Option(
        help: """
            synced: what is acknowledged survives a loss of power; written: the end of the process, not of the machine.
            """
    )
    var durability = JournalConfiguration.Durability.synced

    @Option(help: "Bytes of a file of the journal, of which three are kept at least, and a reserve for a full disk.")
    var segmentBytes = JournalConfiguration().segmentBytes

    @Flag(help: "Keep sessions and retained messages in memory only.")
    var inMemory = false

    @Option(help: "Event loops; one for every two cores, up to 4, unless given.")
    var threads: Int?

    @Option(
        help: ArgumentHelp(
            "trace, debug, info, notice, warning, error or critical.",
            discussion: """
                For one category alone: category=level, several with commas. Categories: broker, connections, drops, \
                packets. Example: warning,connections=info
                """
        )
    )
    var logLevel = LogLevels(level: .info)

    @Option(help: "text, or json for one object a line.")
    var logFormat = LogFormat.text

    @Option(help: "The identifier of a client whose packets are logged: names, topics, sizes, no payloads.")
    var logPackets: String?

    @Option(
        name: .customLong("limit"),
        help: "A limit: name=value. It may be given several times.",
        transform: LimitOption.init(parsing:)
    )
    var limits: [LimitOption] = []

    @Option(help: "For a session whose queue is full: drop-newest, drop-oldest or disconnect.")
    var queuePolicy = QueuePolicy.dropNewest

    @Option(help: "Seconds that a connection may take nothing of what it is sent before it is closed.")
    var drainTime: Double = 60

    @Option(help: "Seconds between two publications of $SYS/broker; 0 turns them off.")
    var sysInterval: Double = 10

    @Option(help: "Messages about each client below $SYS/<broker id>: none, aedes or mosca, in the way of either.")
    var clientTopics = ClientTopics.none

    @Option(help: "In the names of these topics; chosen at random unless given.")
    var brokerID: String?

    @Flag(help: "Let everybody in, also from other machines.")
    var allowAnonymous = false

    @Option(help: "Seconds that a connection has to send CONNECT.")
    var connectTimeout: Double = 30

    @Option(help: "The longest keep alive in seconds; clients that ask for more are given this one. 0 is no maximum.")
    var maxKeepAlive: UInt16 = 0

    @Option(help: "What MQTT 5.0 clients that ask for it are told to base their response topics on.")
    var responseInformation: String?

    func validate() throws {
        guard (0...65_535).contains(port) else {
            throw ValidationError("--port is a number from 0 to 65535, not \(port).")
        }
        if let threads, !(1...1_024).contains(threads) {
            throw ValidationError("--threads is a number from 1 to 1024.")
        }
        guard connectTimeout > 0, connectTimeout <= 86_400 else {
            throw ValidationError("--connect-timeout is a number of seconds above 0, at most 86400.")
        }
        guard drainTime > 0, drainTime <= 86_400 else {
            throw ValidationError("--drain-time is a number of seconds above 0, at most 86400.")
        }
        guard sysInterval == 0 || (0.1...86_400).contains(sysInterval) else {
            throw ValidationError("--sys-interval is 0 or a number of seconds from 0.1 to 86400.")
        }
        if let brokerID, !Topics.isValidName(brokerID) || brokerID.contains("/") {
            throw ValidationError("--broker-id is one level of a topic: without /, + and #.")
        }
        guard (4_096...1 << 30).contains(segmentBytes) else {
            throw ValidationError("--segment-bytes is a number from 4096 to \(1 << 30).")
        }
        if inMemory && data != nil { throw ValidationError("--in-memory and --data exclude each other.") }
        if let responseInformation, responseInformation.utf8.count > 65_535 {
            throw ValidationError("--response-information has at most 65535 bytes.")
        }
    }

    func run() async throws {
        guard isLoopback(host) || allowAnonymous else {
            throw CommandFailure(
                "listening on \(host) lets other machines in without authentication: add --allow-anonymous to do so"
            )
        }
        let logger = logFormat.logger(label: "apus", level: logLevel.level)
        raiseOpenFiles()
        if let data { try makeFolder(data) }
        let kept = data.map { "what is acknowledged is kept in \($0)" }
        logger.notice("apus \(Apus.version) starts: \(kept ?? "sessions are kept in memory only")")
        // A file that may not grow is a full disk, not the end.
        signal(SIGXFSZ, SIG_IGN)

        // Messages are read from the journal on one thread, and freed on another.
        apus_limit_heaps(Int32(configuration.loops))
        let broker = MQTTBroker(configuration: configuration, store: store, logger: logger)
        // The group's own lines are about services; the broker says what is to be said.
        var quiet = logger
        quiet.logLevel = max(.warning, logger.logLevel)
        let group = ServiceGroup(
            services: [broker, SummaryPrinter(broker: broker)],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: quiet
        )
        do {
            try await group.run()
        } catch let error as BrokerError {
            throw CommandFailure(error.description)
        } catch let error as JournalError {
            throw CommandFailure("cannot use the data in \(data ?? ""): \(error)")
        } catch let error as FileError {
            throw CommandFailure("cannot use the data in \(data ?? ""): \(error)")
        }
        logger.notice("apus has ended")
    }

    private var store: any MessageStore {
        guard let data else { return VolatileStore() }
        var configuration = JournalConfiguration()
        configuration.durability = durability
        configuration.segmentBytes = segmentBytes
        let limits = self.configuration.limits
        configuration.reserveBytes = limits.uncommittedBytesInAllMax + limits.packetBytesMax
        return Journal(directory: data, configuration: configuration)
    }

    private var configuration: BrokerConfiguration {
        var configuration = BrokerConfiguration()
        configuration.addresses = [.init(host: host, port: port)]
        configuration.threads = threads
        configuration.connectTimeout = .milliseconds(Int64(connectTimeout * 1_000))
        configuration.keepAliveMax = maxKeepAlive
        configuration.responseInformation = responseInformation
        for limit in limits { configuration.limits[keyPath: limit.limit.keyPath] = limit.value }
        configuration.queuePolicy = queuePolicy
        configuration.drainTime = .milliseconds(Int64(drainTime * 1_000))
        configuration.systemTopicsInterval = .milliseconds(Int64(sysInterval * 1_000))
        configuration.clientTopics = clientTopics
        configuration.brokerID = brokerID
        configuration.logLevels = logLevel.categories
        configuration.tracedClientID = logPackets
        return configuration
    }

    private func isLoopback(_ host: String) -> Bool {
        host == "localhost" || host == "::1" || host.hasPrefix("127.")
    }

    private func makeFolder(_ path: String) throws {
        var made = ""
        for part in path.split(separator: "/", omittingEmptySubsequences: false) {
            made += made.isEmpty && part.isEmpty ? "/" : (made.isEmpty || made.hasSuffix("/") ? "" : "/") + part
            guard mkdir(made, 0o755) != 0, errno != EEXIST else { continue }
            let reason = String(cString: strerror(errno))
            var status = stat()
            guard stat(made, &status) == 0 else { throw CommandFailure("cannot make the folder \(path): \(reason)") }
        }
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw CommandFailure("cannot use \(path) for data: it is not a folder")
        }
    }

    /// As many connections as the system lets this process have.
    private func raiseOpenFiles() {
        var files = rlimit()
        #if canImport(Glibc)
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
        let resource = RLIMIT_NOFILE
        #endif
        guard getrlimit(resource, &files) == 0 else { return }
        files.rlim_cur = files.rlim_max
        _ = setrlimit(resource, &files)
    }
}

/// A failure that one sentence explains: printed after `Error:`, with a non-zero exit.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension JournalConfiguration.Durability: ExpressibleByArgument {}
