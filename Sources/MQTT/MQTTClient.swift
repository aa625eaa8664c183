import Logging
import MQTTPackets
import NIOCore
import NIOPosix
import ServiceLifecycle

/// A client of MQTT 3.1, 3.1.1 and 5.0.
///
/// ```swift
/// try await MQTTClient.withConnection("mqtt://localhost") { client in
///     try await client.publish("30", to: "temperature", qos: .atLeastOnce)
///     try await client.withSubscription(to: "temperature") { messages in
///         for await message in messages { print(message.topic, message.payloadString) }
///     }
/// }
/// ```
///
/// `run()` keeps it connected; everything else may be called from any task, before and while it runs. What needs the
/// server waits for a connection, under the limits of the configuration.
public final class MQTTClient: Service {
    /// How it was set up.
    public var configuration: Configuration { settings.value }
    let settings: SharedConfiguration
    let outbox: Outbox
    let status = ClientStatus()
    let responses = Responses()
    private let driver: NIOLoopBoundBox<ClientDriver>
    let eventLoop: any EventLoop
    let logger: Logger

    /// A client that nothing is known of before `run()`. Throws where the configuration makes no sense.
    ///
    /// It lives on one event loop of the group.
    public init(
        _ configuration: Configuration,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        logger: Logger = Logger(label: "mqtt")
    ) throws(MQTTError) {
        try configuration.check()
        settings = SharedConfiguration(configuration)
        self.logger = logger
        eventLoop = configuration.environment.eventLoop ?? eventLoopGroup.next()
        // Before 5.0 no server assigns one that the client would be told.
        let makesUpID =
            configuration.clientID.isEmpty && (configuration.version < .v5 || configuration.durableStore != nil)
        let clientID = makesUpID ? "mqtt-" + String(UInt64.random(in: 0 ... .max), radix: 36) : configuration.clientID
        outbox = Outbox(limits: configuration.queue)
        driver = NIOLoopBoundBox.makeBoxSendingValue(
            ClientDriver(
                settings,
                clientID: clientID,
                eventLoop: eventLoop,
                outbox: outbox,
                status: status,
                transport: configuration.environment.transport,
                metrics: .shared,
                logger: logger
            ),
            eventLoop: eventLoop
        )
        let weak = WeakDriver(box: driver)
        outbox.onWake { [eventLoop] in
            eventLoop.execute { weak.box?.value.woken() }
        }
    }

    /// A client of the server that the URL names: `mqtt://user:password@host:1883`.
    public convenience init(_ url: String) throws(MQTTError) { try self.init(Configuration(url)) }

    /// Whether there is a connection now. `events` tells of changes.
    public var connectionState: ConnectionState { status.connection }

    /// What happens from now on. Each call gives a stream of its own, which keeps the 256 newest events for a reader
    /// that is slow, and ends with the client.
    public var events: AsyncStream<Event> { status.events() }

    /// The connection, as soon as there is one. Throws where the client ends before.
    @discardableResult
    public func connected() async throws(MQTTError) -> Connection { try await status.connected() }

    /// Begins the next attempt to connect now, where the client pauses before it: for a program that has learned that the
    /// network is there again.
    public func reconnect() { outbox.perform { $0.endPause() } }

    // MARK: The end

    /// Ends the client: sends what it was given before, then DISCONNECT; `run()` returns. What the server has not
    /// acknowledged by then is not waited for: `flush()` does that.
    ///
    /// - Parameters:
    ///   - publishingWill: the server publishes the will all the same. Before 5.0 there is no DISCONNECT that says so,
    ///     and none is sent.
    public func disconnect(publishingWill: Bool = false) {
        if publishingWill && configuration.version < .v5 { return close() }
        let reasonCode = publishingWill ? ReasonCode.disconnectWithWill : .success
        outbox.perform { $0.end(.disconnect(reasonCode, Properties())) }
    }

    /// The same with properties of DISCONNECT in 5.0 (section 3.14.2.2), such as another session expiry; left out before,
    /// and where they make the packet larger than the server takes.
    ///
    /// - Throws: `invalidArgument` where they have no place there, and the client goes on; a session that was to end with
    ///   its connection cannot be given more time now.
    public func disconnect(publishingWill: Bool = false, properties: Properties) throws(MQTTError) {
        guard configuration.version == .v5 else { return disconnect(publishingWill: publishingWill) }
        let reasonCode = publishingWill ? ReasonCode.disconnectWithWill : .success
        do { try Disconnect(reasonCode: reasonCode, properties: properties).check() } catch {
            throw .invalidArgument(error.explanation)
        }
        if configuration.sessionExpiry.seconds == 0 && properties[integer: .sessionExpiryInterval] ?? 0 > 0 {
            throw .invalidArgument("a session that ends with its connection is given no more time by DISCONNECT")
        }
        outbox.perform { $0.end(.disconnect(reasonCode, properties)) }
    }

    /// Ends the client without a word to the server, which publishes the will; `run()` returns.
    public func close() { outbox.perform { $0.end(.abrupt) } }

    // MARK: Running

    /// Connects and keeps connected, until `disconnect()`, `close()`, the task's cancellation or a graceful shutdown.
    /// A client runs once.
    ///
    /// Throws an `MQTTError` where there is no hope: the server refuses the client for good, another client has taken
    /// the session over, or `ReconnectPolicy.attemptsMax` is reached.
    public func run() async throws { try await run(isPatient: true) }

    /// `isPatient` says whether a first attempt that fails is followed by others.
    ///
    /// This is where an idle client waits. All frames up to the continuation are to fit into the first KiB of its task, or
    /// it takes two: so there are few, and none has room for a result.
    @inline(__always)
    func run(isPatient: Bool) async throws(MQTTError) {
        guard status.begin() else { throw .alreadyRunning }
        if let executor = configuration.environment.executor {
            await untilOver(isPatient, on: executor)
        } else {
            await untilOver(isPatient)
        }
        if let error = status.failure { throw error }
    }

    @inline(never)
    private func untilOver(_ isPatient: Bool, on executor: any TaskExecutor) async {
        await withTaskExecutorPreference(executor) { await untilOver(isPatient) }
    }

    private func untilOver(_ isPatient: Bool) async {
        await withGracefulShutdownHandler {
            await withTaskCancellationHandler {
                await withCheckedContinuation { over in begin(isPatient, over) }
            } onCancel: {
                disconnect()
            }
        } onGracefulShutdown: {
            self.disconnect()
        }
    }

    private func begin(_ isPatient: Bool, _ over: CheckedContinuation<Void, Never>) {
        let backoff = Backoff(configuration.reconnect, random: configuration.environment.random)
        outbox.perform {
            $0.begin(ClientDriver.Series(isPatient: isPatient, backoff: backoff, over: WaitingTask(over)))
        }
    }
}

/// The driver has the outbox, which wakes it.
private struct WeakDriver: Sendable {
    weak let box: NIOLoopBoundBox<ClientDriver>?
}
