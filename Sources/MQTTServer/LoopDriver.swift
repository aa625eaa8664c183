import DequeModule
import Logging
import MQTTCore
import NIOCore

/// Moves bytes between the connections of one event loop and the core.
///
/// Every entry into the core is a turn: take the lock and do the work; then, without the lock, wake other loops that
/// have something to do, log, and free what was discarded. What the turns of one pass of the loop left to write is taken
/// and written together, behind the last of them, or earlier where they are many or one burst was large.
///
/// NIO may call back from within a write (a failing write reads and closes), so a turn can begin inside another's
/// writing: it only appends to the queue, and the outermost writes all of it, in order.
final class LoopDriver {
    /// NIO runs every ready task before it looks at sockets again; a shorter delay would starve them.
    static let betweenTurns = TimeAmount.microseconds(50)
    private static let tickInterval = TimeAmount.milliseconds(50)
    /// Turns whose output is written together: where many connections have something at the same moment, a receiver of
    /// all of them is written to once, and not once for each.
    private static let turnsTogether = 16
    /// A burst of so many bytes makes output that is worth a write of its own, while it is still in the processor's cache.
    private static let bytesWorthWriting = 16 << 10

    /// Another loop, to be woken.
    struct Peer: Sendable {
        let eventLoop: any EventLoop
        let driver: NIOLoopBound<LoopDriver>

        func compact() {
            let driver = driver
            eventLoop.execute { driver.value.compact() }
        }

        func wake() {
            let driver = driver
            eventLoop.execute { driver.value.woken() }
        }
    }

    let index: Int
    let eventLoop: any EventLoop
    let core: SharedCore
    let receiveBuffers: ReceiveBuffers
    let hooks: HookRunner
    private let log: ConnectionLog
    private let hub: EventHub
    private var peers: [Peer] = []
    private var handlers: [(any ConnectionEnd)?] = []
    private var pending = Deque<OutputEntry>()
    private var isWriting = false
    private var feedIsScheduled = false
    private var isStopped = false
    /// Turns since output was last taken.
    private var turnsUnwritten = 0
    /// Told after each turn that changed something which must last.
    private var changed: @Sendable () -> Void = {}
    /// Told after each turn that wants messages from the store.
    private var pagesWanted: @Sendable () -> Void = {}
    /// Told after each turn that has messages for the hook of this name.
    private let published: (@Sendable () -> Void)?

    init(
        index: Int,
        eventLoop: any EventLoop,
        core: SharedCore,
        receiveBuffers: ReceiveBuffers,
        hooks: HookRunner,
        published: (@Sendable () -> Void)?,
        log: ConnectionLog,
        hub: EventHub
    ) {
        self.hooks = hooks
        self.published = published
        self.index = index
        self.eventLoop = eventLoop
        self.core = core
        self.receiveBuffers = receiveBuffers
        self.log = log
        self.hub = hub
    }

    func start(
        peers: [Peer],
        changed: @escaping @Sendable () -> Void,
        pagesWanted: @escaping @Sendable () -> Void
    ) {
        self.peers = peers
        self.changed = changed
        self.pagesWanted = pagesWanted
        guard index == 0 else { return }
        tick()
    }

    func stop() { isStopped = true }

    /// Deadlines are kept by one loop for all.
    private func tick() {
        guard !isStopped else { return }
        let isDone = turn { core, now in core.expire(at: now) }
        if isDone && log.hasComeToRest() {
            turn { core, _ in core.compact() }
            for peer in peers { peer.compact() }
            log.trimMemory()
        }
        schedule(in: isDone ? Self.tickInterval : Self.betweenTurns) { $0.tick() }
    }

    // MARK: Connections

    /// Nil where there are too many: the connection is to be closed.
    func opened(_ handler: ConnectionHandler, address: String) -> ConnectionID? {
        let id = turn { [index] core, now in core.open(loop: index, address: address, at: now) }
        guard let id else { return nil }
        add(handler, id)
        return id
    }

    /// A connection that the core knows.
    func add(_ end: any ConnectionEnd, _ id: ConnectionID) {
        while handlers.count <= Int(id.slot) { handlers.append(nil) }
        handlers[Int(id.slot)] = end
    }

    func closed(_ id: ConnectionID, _ reason: DisconnectReason) {
        handlers[Int(id.slot)] = nil
        turn { core, now in core.closed(id, reason, at: now) }
        log.connectionClosed()
    }

    /// Gives back the places behind the last connection.
    private func compact() {
        while case .some(.none) = handlers.last { handlers.removeLast() }
        handlers = [] + handlers
    }

    /// When all connections that are open will have closed.
    var closeFutures: [EventLoopFuture<Void>] { handlers.compactMap { $0?.closeFuture } }

    // MARK: Turns

    /// One turn, with a burst of so many bytes. `applying` is given the result before anything is written, since writing
    /// may call back.
    @discardableResult
    func turn<Result: Sendable>(
        bytes: Int = 0,
        _ body: (inout BrokerCore, _ now: Int64) -> Result,
        applying: (Result) -> Void = { _ in }
    ) -> Result {
        let index = index
        turnsUnwritten += 1
        if turnsUnwritten == 1 { eventLoop.assumeIsolated().execute { self.writeTurns() } }
        let takesOutput = turnsUnwritten >= Self.turnsTogether || bytes >= Self.bytesWorthWriting
        if takesOutput { turnsUnwritten = 1 }
        let (result, after) = core.withLock { core, now in
            let result = body(&core, now)
            return (result, AfterTurn(of: &core, loop: index, takesOutput: takesOutput))
        }
        applying(result)
        perform(after)
        return result
    }

    /// After all that was ready had its turn.
    private func writeTurns() {
        turnsUnwritten = 0
        let index = index
        perform(core.withLock { core, _ in AfterTurn(of: &core, loop: index) })
    }

    private func perform(_ after: AfterTurn) {
        for other in after.wake { peers[other].wake() }
        if after.hasChanges { changed() }
        if after.wantsPages { pagesWanted() }
        if after.hasPublished { published?() }
        log.log(after.events)
        if let observed = after.observed { hub.publish(observed) }
        if after.isHungry { scheduleFeed() }
        pending.append(contentsOf: after.output)
        guard !isWriting else { return }
        isWriting = true
        while let entry = pending.popFirst() {
            // A connection that has closed meanwhile left its place, perhaps to another.
            let slot = Int(entry.connection.slot)
            guard slot < handlers.count, let handler = handlers[slot], handler.id == entry.connection else { continue }
            handler.perform(entry)
        }
        isWriting = false
    }

    /// Another loop's turn left something for this one. It stays awake until it has found nothing.
    private func woken() {
        let index = index
        let after = core.withLock { core, _ in
            let after = AfterTurn(of: &core, loop: index)
            if after.output.isEmpty { core.fellAsleep(loop: index) }
            return after
        }
        perform(after)
        if !after.output.isEmpty { schedule { $0.woken() } }
    }

    private func scheduleFeed() {
        guard !feedIsScheduled else { return }
        feedIsScheduled = true
        schedule { driver in
            driver.feedIsScheduled = false
            driver.turn { [index = driver.index] core, now in core.feed(loop: index, at: now) }
        }
    }

    private func schedule(in delay: TimeAmount = betweenTurns, _ work: @escaping (LoopDriver) -> Void) {
        eventLoop.assumeIsolated().scheduleTask(in: delay) { work(self) }
    }
}

/// What stands at the broker's end of a connection: a channel, or host code.
protocol ConnectionEnd: AnyObject {
    var id: ConnectionID { get }
    /// Nil where it has closed.
    var closeFuture: EventLoopFuture<Void>? { get }
    /// Writes, resumes reading or closes, as the core has decided.
    func perform(_ entry: OutputEntry)
}

/// What a turn left to do without the lock.
private struct AfterTurn: Sendable {
    let output: [OutputEntry]
    let wake: [Int]
    let events: [CoreEvent]
    let observed: EventBatch?
    let isHungry: Bool
    let hasChanges: Bool
    let wantsPages: Bool
    let hasPublished: Bool
    /// Freed with this value.
    private let discarded: [Discarded]

    init(of core: inout BrokerCore, loop: Int, takesOutput: Bool = true) {
        output = takesOutput ? core.takeOutput(loop: loop) : []
        wake = core.loopsToWake(besides: loop)
        events = core.takeEvents()
        observed = core.takeObserved()
        isHungry = core.isHungry(loop: loop)
        hasChanges = core.hasChanges()
        wantsPages = core.hasPageRequests()
        hasPublished = core.hasPublished()
        discarded = core.takeDiscarded()
    }
}
