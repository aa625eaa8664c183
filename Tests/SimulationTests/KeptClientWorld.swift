import MQTTCore
import MQTTPackets
import MQTTSessions
import MQTTStore
import NIOCore

/// Two programs with stores and a broker with one. Links are cut at any byte, and each of the three processes ends at any
/// instant and begins anew on what its store has.
final class KeptClientWorld {
    private var random: SeededGenerator
    private let configuration: CoreConfiguration
    private var core: BrokerCore
    private var store = ModelStore()
    private var links: [(id: ConnectionID, link: KeptLink, next: Received.Next)] = []
    let clients: [KeptClient]
    private var now: Int64 = 1_000
    /// Connections that are to be closed for it.
    private var takeovers = 0

    init(seed: UInt64, storeLies: Bool = false) throws {
        var random = SeededGenerator(seed: seed)
        var configuration = World.configuration(&random)
        configuration.loops = 1
        configuration.isDurable = true
        configuration.limits = configuration.limits.resolved(memoryBytes: 1 << 30)
        self.configuration = configuration
        core = BrokerCore(configuration: configuration)
        let version = random.pick(ProtocolVersion.allCases)
        clients = try ["a", "b"].map { name in
            try KeptClient(name, version, receiveMaximum: random.pick([1, 3, 100]), storeLies: storeLies)
        }
        self.random = random
    }

    // MARK: The plan

    func run() throws {
        for client in clients {
            try connect(client)
            client.subscribe()
        }
        try comeToRest()
        let messages = 1 + random.below(60)
        let crashesOneIn = random.pick([40, 150, 600])
        for _ in 0..<(messages * 20) {
            now += Int64(random.below(8))
            if random.oneIn(20) {
                let qos = random.oneIn(2) ? QoS.atLeastOnce : .exactlyOnce
                random.pick(clients).publish(qos: qos, padding: random.below(60))
            }
            try step()
            if random.oneIn(crashesOneIn) { try crash() }
        }
        try comeToRest()
        for client in clients {
            try expect(client.session.outbound.isEmpty, "\(client.name) has messages left")
            for receiver in clients { try check(client, receiver) }
        }
    }

    /// What one has published and the other has taken.
    private func check(_ sender: KeptClient, _ receiver: KeptClient) throws {
        let arrived = receiver.taken.filter { $0.topic == "t/\(sender.name)" }
        let what = "\(sender.name) to \(receiver.name)"
        for qos in [QoS.atLeastOnce, .exactlyOnce] {
            let numbers = arrived.filter { $0.qos == qos }.map(number)
            var seen: Set<Int> = []
            let first = numbers.filter { seen.insert($0).inserted }
            try expect(first == first.sorted(), "\(what), \(qos), in another order: \(first)")
            let lost = sender.published.filter { $0.qos == qos && $0.isAccepted && !seen.contains($0.number) }
            try expect(lost.isEmpty, "\(what), \(qos), lost: \(lost.map(\.number))")
        }
        var once: Set<ByteBuffer> = []
        for message in arrived where message.qos == .exactlyOnce && !once.insert(message.payload).inserted {
            try expect(receiver.mayRepeat.contains(message.payload), "\(what), twice at QoS 2: \(number(message))")
        }
    }

    private func number(_ publish: Publish) -> Int {
        let words = String(buffer: publish.payload).split(separator: " ")
        return words.count > 1 ? Int(words[1]) ?? -1 : -1
    }

    private func step() throws {
        switch random.below(100) {
        case 0..<35: if let link = links.randomElement(using: &random)?.link { try moveToBroker(link) }
        case 35..<70: if let link = links.randomElement(using: &random)?.link { try moveToClient(link) }
        case 70..<80: try act(random.pick(clients)) { _ = try $0.commitAStep() }
        case 80..<88: _ = try commitBroker()
        case 88..<95: try act(random.pick(clients)) { $0.take() }
        case 95: if let link = links.randomElement(using: &random)?.link { cut(link) }
        default:
            for client in clients where client.link == nil { try connect(client) }
        }
        try seeEnds()
    }

    private func act(_ client: KeptClient, _ body: (KeptClient) throws -> Void) throws {
        try body(client)
        flush(client)
    }

    /// Nothing more is broken, and everything is finished.
    private func comeToRest() throws {
        for _ in 0..<20_000 {
            now += 1
            var isBusy = false
            for client in clients {
                if client.link == nil {
                    try connect(client)
                    isBusy = true
                }
                if !client.untaken.isEmpty || client.store.isCommitting { isBusy = true }
                try act(client) { client in
                    client.take()
                    if try client.commitAStep() { isBusy = true }
                }
            }
            for (_, link, _) in links where link.toBroker.readableBytes + link.toClient.readableBytes > 0 {
                isBusy = true
                try moveToBroker(link)
                try moveToClient(link)
            }
            if try commitBroker() { isBusy = true }
            if try turn({ _ in }) { isBusy = true }
            try seeEnds()
            if !isBusy { return }
        }
        throw SimulationFailure("does not come to rest")
    }

    // MARK: Connections

    private func connect(_ client: KeptClient) throws {
        let link = KeptLink(client)
        guard let id = core.open(loop: 0, address: client.name, at: now) else { return }
        links.append((id, link, .read))
        client.link = link
        client.connectionBegan()
        try act(client) { _ in }
    }

    private func flush(_ client: KeptClient) {
        let bytes = client.takeOutput()
        if let link = client.link, !link.isCut { link.toBroker.writeImmutableBuffer(bytes) }
    }

    private func cut(_ link: KeptLink) {
        link.isCut = true
        for queue in [\KeptLink.toBroker, \KeptLink.toClient] {
            let bytes = link[keyPath: queue]
            link[keyPath: queue] =
                bytes.getSlice(at: bytes.readerIndex, length: random.below(bytes.readableBytes + 1)) ?? bytes
        }
    }

    /// A cut link is over for each end once that has all that has come through.
    private func seeEnds() throws {
        for (id, link, _) in links where link.isCut && link.toBroker.readableBytes + link.toClient.readableBytes == 0 {
            links.removeAll { $0.link === link }
            leave(link)
            _ = try turn { [now] core in core.closed(id, .closed, at: now) }
        }
    }

    private func leave(_ link: KeptLink) {
        guard link.client.link === link else { return }
        link.client.link = nil
        link.client.connectionEnded()
    }

    private func portion(of bytes: Int) -> Int {
        random.oneIn(2) ? bytes : 1 + random.below(min(bytes, 1 << random.below(8)))
    }

    private func moveToClient(_ link: KeptLink) throws {
        guard link.toClient.readableBytes > 0 else { return }
        let bytes = link.toClient.readSlice(length: portion(of: link.toClient.readableBytes))
        guard let bytes, link.client.link === link else { return }
        try act(link.client) { try $0.received(bytes) }
    }

    private func moveToBroker(_ link: KeptLink) throws {
        guard link.toBroker.readableBytes > 0 else { return }
        guard let bytes = link.toBroker.readSlice(length: portion(of: link.toBroker.readableBytes)) else { return }
        link.rest.writeImmutableBuffer(bytes)
        try goOn(link)
    }

    // MARK: The broker

    private func goOn(_ link: KeptLink) throws {
        while let at = links.firstIndex(where: { $0.link === link }),
            links[at].next == .read || links[at].next == .again
        {
            let (id, burst) = (links[at].id, link.rest)
            var received: Received?
            _ = try turn { [now] core in received = core.receive(burst, from: id, at: now) }
            guard let received, let at = links.firstIndex(where: { $0.link === link }) else { return }
            link.rest.moveReaderIndex(forwardBy: received.consumed)
            link.rest = ByteBuffer(bytes: link.rest.readableBytesView)
            links[at].next = received.next
            guard received.consumed > 0 || received.next == .again, link.rest.readableBytes > 0 else { return }
        }
    }

    /// One turn, and its output. False where nothing came of it.
    private func turn(_ body: (inout BrokerCore) -> Void) throws -> Bool {
        body(&core)
        var isBusy = false
        if core.isHungry(loop: 0) {
            core.feed(loop: 0, at: now)
            isBusy = true
        }
        let requests = core.takePageRequests()
        for request in requests { core.loaded(request, store.kept.page(request.page), at: now) }
        var resumed: [KeptLink] = []
        while true {
            let output = core.takeOutput(loop: 0)
            _ = core.takeDiscarded()
            for case .disconnected(_, _, .broker(.sessionTakenOver, _)) in core.takeEvents() { takeovers += 1 }
            guard !output.isEmpty else { break }
            isBusy = true
            for entry in output { try perform(entry, &resumed) }
        }
        core.fellAsleep(loop: 0)
        for link in resumed { try goOn(link) }
        return isBusy || !requests.isEmpty
    }

    private func perform(_ entry: OutputEntry, _ resumed: inout [KeptLink]) throws {
        guard let at = links.firstIndex(where: { $0.id == entry.connection }) else { return }
        let link = links[at].link
        for chunk in entry.chunks where !link.isCut { link.toClient.writeImmutableBuffer(chunk) }
        if entry.closes {
            // Another connection has taken it over, perhaps an older one of which CONNECT was late.
            try expect(takeovers > 0, "\(link.client.name) is sent away")
            takeovers -= 1
            leave(link)
            links.remove(at: at)
            return
        }
        if entry.resumes {
            links[at].next = .read
            resumed.append(link)
        }
    }

    private func commitBroker() throws -> Bool {
        if let ticket = store.commit() {
            return try turn { [now] core in core.committed(through: ticket, at: now) } || true
        }
        var taken = core.takeChanges(wallClock: now)
        guard !taken.changes.isEmpty else { return false }
        taken.removePlaceholders()
        store.begin(taken.changes, through: taken.ticket)
        return true
    }

    // MARK: Crashes

    private func crash() throws {
        guard random.oneIn(3) else {
            let client = random.pick(clients)
            if let link = client.link { cut(link) }
            client.link = nil
            return try client.crash(keepsBatch: random.oneIn(2))
        }
        for (_, link, _) in links {
            cut(link)
            leave(link)
        }
        links = []
        _ = store.crash(keepsBatch: random.oneIn(2))
        core = BrokerCore(configuration: configuration)
        core.restore(store.kept.state, at: now)
        _ = try turn { _ in }
    }
}
