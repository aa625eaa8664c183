import MQTTCore
import MQTTPackets
import NIOCore
import Synchronization

/// The broker's end of a subscription of host code: takes what its connection is to be sent, and instead of writing it
/// gives the messages to a sequence. It belongs to its event loop.
///
/// What the reader has not taken is not acknowledged, and holds back what follows at QoS 1; and beyond its bound the
/// connection is not writable, as one whose client does not read: QoS 0 then has room in the send buffer, and no further.
final class HostConnection: ConnectionEnd {
    typealias Producer = NIOAsyncSequenceProducer<
        HostMessage, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, HostReader
    >

    private(set) var id = ConnectionID(slot: -1, generation: 0)
    private let driver: LoopDriver
    private let closed: EventLoopPromise<Void>
    private let source: Producer.Source
    private let reader: HostReader
    private var decoder = PacketDecoder(version: .v5)
    private var isWritable = true
    private var isClosed = false

    private init(driver: LoopDriver, source: Producer.Source, reader: HostReader) {
        self.driver = driver
        self.source = source
        self.reader = reader
        closed = driver.eventLoop.makePromise()
    }

    /// A subscription, which begins at once.
    static func subscribe(
        _ driver: LoopDriver,
        _ filter: String,
        _ options: SubscriptionOptions,
        buffering count: Int
    ) -> Result<BrokerSubscription, HostRefusal> {
        let reader = HostReader(driver.eventLoop)
        let sequence = Producer.makeSequence(
            elementType: HostMessage.self,
            backPressureStrategy: .init(lowWatermark: count / 2, highWatermark: count),
            finishOnDeinit: true,
            delegate: reader
        )
        let connection = HostConnection(driver: driver, source: sequence.source, reader: reader)
        let loop = driver.index
        // What the turn leaves to do may already be for this connection.
        let result = driver.turn { core, now in
            core.beginHostSubscription(filter, options, loop: loop, at: now)
        } applying: { result in
            guard case .success(let id) = result else { return }
            connection.id = id
            driver.add(connection, id)
        }
        switch result {
        case .success:
            reader.begin(NIOLoopBound(connection, eventLoop: driver.eventLoop))
            return .success(BrokerSubscription(sequence.sequence, reader))
        case .failure(let refusal):
            connection.close()
            return .failure(refusal)
        }
    }

    var closeFuture: EventLoopFuture<Void>? { isClosed ? nil : closed.futureResult }

    func perform(_ entry: OutputEntry) {
        var bytes = ByteBuffer()
        for chunk in entry.chunks { bytes.writeImmutableBuffer(chunk) }
        var messages: [HostMessage] = []
        // An entry ends where a packet does, and the core writes none that cannot be read.
        while let packet = try? decoder.next(&bytes) {
            guard case .publish(let publish) = packet else { continue }
            messages.append(HostMessage(message: Message(publish), packetID: publish.packetID))
        }
        if !messages.isEmpty, source.yield(contentsOf: messages) == .stopProducing { setWritable(false) }
        if entry.closes { close() }
    }

    private func setWritable(_ isWritable: Bool) {
        guard self.isWritable != isWritable, !isClosed else { return }
        self.isWritable = isWritable
        driver.turn { [id] core, now in core.setWritable(id, isWritable, at: now) }
    }

    /// The reader has taken messages, or wants more.
    func taken(_ packetIDs: [UInt16], wantsMore: Bool) {
        guard !isClosed else { return }
        if wantsMore { setWritable(true) }
        if !packetIDs.isEmpty {
            driver.turn { [id] core, now in core.acknowledged(packetIDs, by: id, at: now) }
        }
    }

    /// The core has ended the connection, or nobody reads any more.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        reader.end()
        if id.slot >= 0 { driver.closed(id, .closed) }
        source.finish()
        closed.succeed()
    }
}

/// A message on its way to a reader.
struct HostMessage: Sendable {
    let message: Message
    /// Nil at QoS 0: then there is nothing to acknowledge.
    let packetID: UInt16?
}

/// What a reader tells its connection, gathered until the event loop has time for it.
final class HostReader: NIOAsyncSequenceProducerDelegate {
    private struct State {
        var connection: NIOLoopBound<HostConnection>?
        var packetIDs: [UInt16] = []
        var wantsMore = false
        var isGone = false
        var isScheduled = false
    }

    private let state = Mutex(State())
    private let eventLoop: any EventLoop

    init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func begin(_ connection: NIOLoopBound<HostConnection>) { state.withLock { $0.connection = connection } }

    /// The connection has closed, and its event loop may be gone.
    func end() { state.withLock { $0.connection = nil } }

    func taken(_ message: HostMessage) {
        guard let packetID = message.packetID else { return }
        change { $0.packetIDs.append(packetID) }
    }

    func produceMore() { change { $0.wantsMore = true } }

    func didTerminate() { change { $0.isGone = true } }

    private func change(_ body: (inout State) -> Void) {
        let schedules = state.withLock { state in
            guard state.connection != nil else { return false }
            body(&state)
            guard !state.isScheduled else { return false }
            state.isScheduled = true
            return true
        }
        if schedules { eventLoop.execute { self.tell() } }
    }

    private func tell() {
        let told = state.withLock { state in
            let told = state
            state.packetIDs = []
            state.wantsMore = false
            state.isScheduled = false
            if told.isGone { state.connection = nil }
            return told
        }
        guard let connection = told.connection?.value else { return }
        connection.taken(told.packetIDs, wantsMore: told.wantsMore)
        if told.isGone { connection.close() }
    }
}
