import DequeModule
import Logging
import MQTTPackets
import MQTTSessions
import NIOCore

/// The event loop's part of a client: it moves bytes between one channel and the session, and answers those who wait.
///
/// Everything happens in turns: bytes have come, the outbox has something, a timer fires. What a turn leaves to send is
/// written once, at its end, and what it brought for the sequences is handed over once for each burst.
final class ClientDriver {
    /// NIO runs every ready task before it looks at sockets again: after so many wakings in a row the next one waits, or
    /// a busy publisher would keep the loop from reading.
    private static let wakingsInRowMax = 8
    private static let betweenWakings = TimeAmount.microseconds(50)
    /// Bytes of messages that wait for the commit that follows the present one. The store has both set aside for the case
    /// that the disk is full.
    private static let uncommittedBytesMax = 256 << 10

    /// SUBSCRIBE or UNSUBSCRIBE, to be answered.
    enum Request {
        case subscribe(SubscribeRequest)
        case unsubscribe(String, UnsubscribeCall?)
    }

    struct Flush {
        let id: UInt64
        /// Of the last message in the outbox that it is for.
        let place: UInt64
        /// It waits for all messages with lower numbers; nil where the outbox still has some.
        var number: UInt64?
        let waiter: CheckedContinuation<Result<Void, MQTTError>, Never>
    }

    /// A message of QoS 0 that waits for a connection.
    struct Offline {
        let publication: Publication
        let enqueuedAt: Int64
        /// It came before the message of QoS 1 or 2 with this number.
        let before: UInt64
    }

    let eventLoop: any EventLoop
    let settings: SharedConfiguration
    var configuration: MQTTClient.Configuration { settings.value }
    let outbox: Outbox
    let status: ClientStatus
    let transport: ClientTransport
    let metrics: ClientMetrics
    let logger: Logger
    /// The logger is told of every packet.
    let traces: Bool

    var session: ClientSession
    var handler: ClientHandler?
    var attempt: Attempt?
    var attempts = 0
    var isEnding = false
    /// Why it ends, where no connection is the cause.
    var failure: MQTTError?
    var series: Series?
    var preparing: Task<Void, Never>?
    /// Between attempts, and where the server has said that the next one is to lead.
    var pause: Scheduled<Void>?
    var pauseReference: ServerAddress?

    var pending = PendingMessages()
    var awaitedPublishes = 0
    var suspect: Suspect?
    /// Of QoS 0, for the next connection.
    var offline = Deque<Offline>()
    var offlineBytes = 0
    var flushes: [Flush] = []
    var ageTimer: Scheduled<Void>?
    /// What the outbox was told; messages that it gives count there until it is told anew.
    var queuedTold: (messages: Int, bytes: Int)? = (0, 0)

    var storing: Storing?
    /// Whether there is a store, which `storing` is too large to be asked for with each packet.
    let hasStore: Bool
    /// The time of the store goes on over restarts.
    var timeOffset: Int64 = 0

    var table = SubscriptionTable()
    var wanted = Deque<FilterEntry>()
    /// A CONNECT had no answer: the server may have begun a session for it.
    var mayHaveMissedSession = false
    /// How many such may still be on their way, and take the session over from a connection that was made after them.
    var lateConnects = 0
    var requests: [UInt16: Request] = [:]
    /// Filters that the server may still have, for the next connection.
    var unwanted: Set<String> = []
    /// Messages that belong to no subscription.
    var unclaimed: Sink?
    var touched: [Sink] = []
    var fullSinks = 0

    /// Of a packet that has come in part, and how many bytes it will have.
    var rest = ByteBuffer()
    var restWanted = 0

    var keepAliveTimer: Scheduled<Void>?
    var keepAliveInterval: TimeAmount?
    var hasReceived = false
    var hasSent = false
    var pingIsOutstanding = false
    private var wakingsInRow = 0

    init(
        _ settings: SharedConfiguration,
        clientID: String,
        eventLoop: any EventLoop,
        outbox: Outbox,
        status: ClientStatus,
        transport: ClientTransport,
        metrics: ClientMetrics,
        logger: Logger
    ) {
        self.settings = settings
        let configuration = settings.value
        self.eventLoop = eventLoop
        self.outbox = outbox
        self.status = status
        self.transport = transport
        self.metrics = metrics
        self.logger = logger
        traces = logger.logLevel <= .trace
        session = ClientSession(
            connect: Connect(version: configuration.version, clientID: clientID),
            acknowledging: .whenTold
        )
        session.automaticAliasesMax = configuration.automaticTopicAliasesMax
        storing = configuration.durableStore.map { Storing(store: $0) }
        hasStore = configuration.durableStore != nil
    }

    // What is asked for each packet is read from stored properties: a call that borrows the session would copy it.

    var version: ProtocolVersion { configuration.version }
    var isConnected: Bool { session.phase == .connected }

    // MARK: Turns

    /// Milliseconds of a monotonic clock.
    var now: Int64 { Int64(eventLoop.now.uptimeNanoseconds / 1_000_000) + timeOffset }

    func turn(_ body: () -> Void) {
        session.now = now
        body()
        settle()
    }

    /// What every turn ends with.
    private func settle() {
        while !session.ended.isEmpty { settleEnded() }
        write()
        if hasStore { commitChanges() }
        let queued = (messages: queuedMessages, bytes: queuedBytes)
        if queuedTold.map({ $0 != queued }) ?? true {
            queuedTold = queued
            outbox.setQueued(messages: queued.messages, bytes: queued.bytes)
        }
        if !flushes.isEmpty { settleFlushes() }
        handler?.resumeReading()
    }

    /// Messages that were not sent.
    var queuedMessages: Int { offline.count + session.outbound.queued }

    var queuedBytes: Int { offlineBytes + session.outbound.bytesUnsent }

    /// The session's output goes out whole.
    func write() {
        guard session.output.readableBytes > 0, let handler else { return }
        hasSent = true
        let bytes = session.output
        if traces { traceSent(bytes) }
        session.output = ByteBuffer()
        metrics.sent(bytes.readableBytes)
        handler.write(bytes)
    }

    /// Whether messages of the outbox can be taken: without a connection they are queued here.
    private var takesPublications: Bool {
        isReady && (!isConnected || handler?.isWritable ?? true)
            && (!hasStore || session.uncommittedBytes < Self.uncommittedBytesMax)
    }

    /// The outbox has something, or the loop has room for it again.
    func woken() {
        let bytesMax = hasStore ? Self.uncommittedBytesMax : .max
        perform(outbox.take(publications: takesPublications, bytesMax: bytesMax))
        wakingsInRow += 1
        guard wakingsInRow >= Self.wakingsInRowMax || !outbox.rest(publications: takesPublications) else { return }
        wakingsInRow = 0
        schedule(in: Self.betweenWakings) { $0.woken() }
    }

    private func perform(_ batch: consuming Outbox.Batch) {
        let batch = batch
        turn {
            if session.output.capacity == 0 && batch.publications.count > 8 {
                session.output.reserveCapacity(64 << 10)
            }
            if !batch.publications.isEmpty { queuedTold = nil }
            for publication in batch.publications { publish(publication) }
            for (receipt, reasonCode) in batch.receipts { session.acknowledge(receipt, reasonCode) }
            for command in batch.commands { command(self) }
            if batch.hasRoomAgain { recountFullSinks() }
        }
    }

    /// The channel takes bytes again.
    func becameWritable() { woken() }

    /// The socket has been looked at.
    func burstEnded() {
        wakingsInRow = 0
        handOver()
    }

    @discardableResult
    func schedule(in delay: TimeAmount, _ work: @escaping (ClientDriver) -> Void) -> Scheduled<Void> {
        eventLoop.assumeIsolated().scheduleTask(in: delay) { work(self) }
    }

    // MARK: Reading is held back

    /// Whether a task of the application waits for something that the server has to say.
    var isAwaited: Bool {
        awaitedPublishes > 0 || !requests.isEmpty || !flushes.isEmpty
            // Acknowledgements make room in the queue.
            || (outbox.hasWaitingTasks && session.outbound.unfinished > 0)
    }

    /// Sequences are full, and nobody would wait in vain.
    var holdsReading: Bool {
        (fullSinks > 0 && !isAwaited && isConnected) || (hasStore && session.isHeld)
    }

    private func recountFullSinks() {
        var sinks = table.entries.values.flatMap(\.sinks)
        if let unclaimed { sinks.append(unclaimed) }
        for sink in sinks where sink.isFull { sink.isFull = sink.buffer.isFull }
        fullSinks = Set(sinks.filter(\.isFull).map(ObjectIdentifier.init)).count
    }
}
