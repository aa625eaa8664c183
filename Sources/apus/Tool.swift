import ArgumentParser
import Logging
import MQTT
import UnixSignals

/// How a tool that talks to a broker begins, ends and fails.
struct Tool: Sendable {
    enum Ending: Sendable { case done, timedOut, interrupted }

    static let timeoutCode = ExitCode(2)
    static let interruptedCode = ExitCode(130)

    let options: ConnectionOptions

    /// Does `body`, for at most `seconds`, until SIGINT or SIGTERM, or until nobody reads the output any more. Its
    /// task is cancelled then, and ends in its own way. An error is told in one sentence.
    func run(seconds: Double? = nil, _ body: @escaping @Sendable () async throws -> Void) async throws -> Ending {
        // Before anything can be seen of the tool: nobody can be too early with a signal.
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        do {
            return try await withThrowingTaskGroup(of: Ending.self) { tasks in
                tasks.addTask {
                    try await body()
                    return .done
                }
                tasks.addTask {
                    for await _ in signals { return .interrupted }
                    throw CancellationError()
                }
                tasks.addTask {
                    try await StandardOutput.waitForBrokenPipe()
                    return .done
                }
                if let seconds {
                    tasks.addTask {
                        try await Task.sleep(for: .seconds(seconds))
                        return .timedOut
                    }
                }
                let ending = try await tasks.next() ?? .done
                tasks.cancelAll()
                while true {
                    // What ends for being cancelled has nothing to tell.
                    do { if try await tasks.next() == nil { return ending } } catch { continue }
                }
            }
        } catch let code as ExitCode {
            throw code
        } catch {
            throw fail(error)
        }
    }

    /// Says why, and gives the exit code.
    func fail(_ error: any Error) -> ExitCode {
        note("Error: \(sentence(error))")
        switch error as? MQTTError {
        case .connectTimedOut, .requestTimedOut, .keepAliveTimedOut: return Self.timeoutCode
        default: return .failure
        }
    }

    private func sentence(_ error: any Error) -> String {
        guard let error = error as? MQTTError else { return "\(error)" }
        switch error {
        case .connectFailed(let cause):
            guard options.unix == nil, let server = try? options.server else {
                return "cannot connect to \(options.serverName): \(cause)"
            }
            return "cannot connect to \(server.host) port \(server.port): \(cause)"
        case .refused(.unsupportedProtocolVersion, _):
            let older = options.version == .v5 ? "3.1.1" : options.version == .v3_1_1 ? "3.1" : "3.1.1"
            return "\(error.description); try -V \(older)"
        default: return error.description
        }
    }

    /// Does what the broker has to answer. Throws where it takes longer than it may.
    func answered<Answer: Sendable>(
        _ request: @escaping @Sendable () async throws -> Answer
    ) async throws -> Answer {
        try await apus.answered(within: .seconds(options.answerSeconds), request)
    }

    /// What is not an error and should be known.
    func note(_ text: String) {
        if !options.quiet { StandardError.print("\(Printable.sentence(text))\n") }
    }

    func debug(_ text: @autoclosure () -> String) {
        if options.debug { StandardError.print("\(Printable.sentence(text()))\n") }
    }

    var logger: Logger {
        guard options.debug else { return Logger(label: "apus") { _ in SwiftLogNoOpLogHandler() } }
        var logger = Logger(label: "apus") { _ in DebugLogHandler() }
        logger.logLevel = .trace
        return logger
    }

    /// Hands a client to `body` once it is connected, and ends it with DISCONNECT. Where the first attempt to connect
    /// fails this does. A connection that is lost later is made again, if `reconnects`.
    ///
    /// `prepare` is called before the client connects. `body` is cancelled when the client is lost for good.
    func withClient<Prepared: Sendable>(
        _ configuration: MQTTClient.Configuration,
        reconnects: Bool,
        prepare: (MQTTClient) -> Prepared,
        _ body: @escaping @Sendable (MQTTClient, Prepared) async throws -> Void
    ) async throws {
        var configuration = configuration
        if !reconnects { configuration.reconnect = .never }
        let client = try MQTTClient(configuration, logger: logger)
        let prepared = prepare(client)
        let events = client.events
        // What `body` leaves of its sequences goes when the client has ended, so that nothing is acknowledged unread.
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await client.run() }
            defer { client.disconnect() }
            try await begin(client, events, &tasks)
            tasks.addTask {
                do {
                    try await body(client, prepared)
                } catch MQTTError.closed {
                    // Why, `run` tells.
                }
                try client.disconnect(properties: options.property.properties(of: .disconnect))
            }
            // The first that fails ends the others.
            while try await tasks.next() != nil {}
        }
        withExtendedLifetime(prepared) {}
    }

    /// The same where nothing is to be prepared.
    func withClient(
        _ configuration: MQTTClient.Configuration,
        reconnects: Bool = false,
        _ body: @escaping @Sendable (MQTTClient) async throws -> Void
    ) async throws {
        try await withClient(
            configuration,
            reconnects: reconnects,
            prepare: { _ in },
            { client, _ in try await body(client) }
        )
    }

    private func begin(
        _ client: MQTTClient,
        _ events: AsyncStream<MQTTClient.Event>,
        _ tasks: inout ThrowingTaskGroup<Void, any Error>
    ) async throws {
        for await event in events {
            tell(event)
            switch event {
            case .connected:
                // A stream has one reader at a time; this one has stopped.
                tasks.addTask { for await event in events { tell(event) } }
                return
            case .disconnected(let error):
                client.close()
                throw whyRefused(error)
            default: continue
            }
        }
        throw CancellationError()
    }

    /// Servers that do not know the version may say so by hanging up.
    private func whyRefused(_ error: MQTTError) -> any Error {
        guard case .connectionLost = error else { return error }
        let hint = options.version == .v5 ? "; if it does not speak MQTT 5, try -V 3.1.1" : ""
        return CommandFailure("\(error), without an answer to CONNECT\(hint)")
    }

    private func tell(_ event: MQTTClient.Event) {
        switch event {
        case .connected(let connection):
            let session = connection.sessionPresent ? "the session goes on" : "a new session"
            debug("connected to \(connection.server) as \(connection.clientID), \(session)")
        case .disconnected(let error): debug("disconnected: \(error)")
        case .reconnecting(let delay, let attempt):
            note("The connection was lost; attempt \(attempt) to connect again in \(delay.rounded).")
        case .subscriptionLost(let filter, let reasonCode):
            note("The subscription to \(filter) was lost: \(reasonCode).")
        case .publishFailed(_, let error): debug("not published: \(error)")
        case .published, .reauthenticated, .closed: break
        }
    }
}

/// Does what somebody has to answer. Throws where that takes longer.
func answered<Answer: Sendable>(
    within time: Duration,
    _ request: @escaping @Sendable () async throws -> Answer
) async throws -> Answer {
    try await withThrowingTaskGroup(of: Answer.self) { tasks in
        tasks.addTask { try await request() }
        tasks.addTask {
            try await Task.sleep(for: time)
            throw MQTTError.requestTimedOut
        }
        defer { tasks.cancelAll() }
        guard let answer = try await tasks.next() else { throw MQTTError.closed }
        return answer
    }
}

extension Duration {
    fileprivate var rounded: String { formattedSeconds(self / .seconds(1)) }
}

/// Seconds with their unit, for the eyes.
func formattedSeconds(_ seconds: Double) -> String {
    switch seconds {
    case ..<0.000_9995: "\(fixed(seconds * 1_000_000, 0)) µs"
    case ..<0.9995: "\(fixed(seconds * 1_000, seconds < 0.1 ? 2 : 0)) ms"
    default: "\(fixed(seconds, seconds < 10 ? 2 : 0)) s"
    }
}

/// A number with so many digits behind the point.
func fixed(_ number: Double, _ digits: Int) -> String {
    let scale = digits == 0 ? 1 : Double((0..<digits).reduce(1) { power, _ in power * 10 })
    let scaled = (abs(number) * scale).rounded()
    let sign = number < 0 && scaled > 0 ? "-" : ""
    let whole = Int(scaled / scale)
    return digits == 0 ? "\(sign)\(whole)" : "\(sign)\(whole).\(padded(Int(scaled) - whole * Int(scale), digits))"
}
