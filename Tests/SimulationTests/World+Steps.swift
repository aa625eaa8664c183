import MQTTCore
import MQTTPackets
import NIOCore

/// What can happen next: bytes move, ends are seen, loops wake, the store commits, time passes.
extension World {
    /// One thing, at random.
    func step() throws {
        if random.below(100) < 15 { try act() } else { try move() }
    }

    /// One thing, at random, that happens without anybody's wanting it.
    func move() throws {
        now += Int64(random.below(8))
        switch random.below(87) {
        case 0..<34: try moveToBroker()
        case 34..<66: try moveToClient()
        case 66..<74: try runLoop()
        case 74..<80: try commitAStep()
        case 80..<82: try expire()
        case 82..<84: try pageAStep()
        default: try seeAnEnd()
        }
    }

    /// Time passes, and all that is under way arrives.
    func pass(milliseconds: Int64) throws {
        let end = now + milliseconds
        while now < end {
            now = min(end, now + 50)
            try expire()
            try comeToRest(reconnecting: false)
        }
    }

    private func moveToBroker() throws {
        let ready = links.filter { $0.toBroker.readableBytes > 0 && $0.brokerReads }
        guard !ready.isEmpty else { return }
        let link = random.pick(ready)
        try brokerReceives(link, bytes: portion(of: link.toBroker.readableBytes))
    }

    private func moveToClient() throws {
        let ready = links.filter { $0.toClient.readableBytes > 0 && !$0.readsNothing }
        guard !ready.isEmpty else { return }
        let link = random.pick(ready)
        if link.isSlow && !random.oneIn(8) { return }
        try clientReceives(link, bytes: portion(of: link.toClient.readableBytes))
    }

    private func portion(of bytes: Int) -> Int {
        random.oneIn(2) ? bytes : 1 + random.below(min(bytes, 1 << random.below(12)))
    }

    func clientReceives(_ link: Link, bytes: Int) throws {
        guard var part = link.toClient.readSlice(length: bytes) else { return }
        if link.toClient.readableBytes == 0 { link.toClient.clear() }
        if !link.hasLeft {
            link.unread.writeBuffer(&part)
            let client = link.client
            while !link.hasLeft, let packet = try link.decoder.next(&link.unread) {
                let event = try client.session.received(packet)
                flush(client)
                if let event { try received(event, by: client) }
            }
            if link.unread.readableBytes == 0 { link.unread.clear() }
        }
        if !link.isWritable && !link.isGone && link.toClient.readableBytes <= link.highWater / 2 {
            try setWritable(link, true)
        }
    }

    func runLoop() throws {
        let goingOn = links.filter { $0.goesOn && !$0.isGone }
        if !goingOn.isEmpty, random.oneIn(2) { return try goOn(random.pick(goingOn)) }
        let ready = loops.indices.filter { loops[$0].isWoken || loops[$0].isToFeed }
        guard !ready.isEmpty else { return }
        try run(random.pick(ready))
    }

    private func run(_ loop: Int) throws {
        if loops[loop].isToFeed {
            loops[loop].isToFeed = false
            return try turn(loop) { [now] core in core.feed(loop: loop, at: now) }
        }
        let (_, after) = turn(loop) { _ in }
        loops[loop].isWoken = !after.output.isEmpty
        if after.output.isEmpty { core.fellAsleep(loop: loop) }
        try perform(after)
    }

    /// The committer takes what there is, and some time later it has come to last.
    func commitAStep() throws {
        guard let reached = store.committing else {
            try settleStore(taking: true)
            if store.ticket > store.committed {
                changes.append((.broker(core.storedBroker(wallClock: now)), store.ticket))
                store.committing = store.ticket
            }
            return
        }
        guard try hasCommitted(through: reached) else { return }
        store.committing = nil
        store.committed = reached
        core.committed(through: reached, at: now)
        for loop in core.loopsToWake(besides: -1) { loops[loop].isWoken = true }
        try settleStore()
        try perform(AfterTurn(loop: 0, output: [], isHungry: false))
    }

    func expire() throws {
        try expireAll()
        // Pings of clients that have one to send.
        for client in clients where client.isUp {
            guard let link = client.link, client.plan.keepsAlive, client.plan.connect.keepAlive > 0 else { continue }
            if now - link.lastSent > Int64(client.plan.connect.keepAlive) * 400 { ping(client) }
        }
    }

    private func expireAll() throws {
        for _ in 0..<1_000 {
            let (isDone, after) = turn(0) { [now] core in core.expire(at: now) }
            try perform(after)
            if isDone { return }
        }
        throw SimulationFailure("what is due is never done")
    }

    func ping(_ client: SimulatedClient) {
        client.session.ping()
        flush(client)
    }

    private func seeAnEnd() throws {
        let ending = links.filter { $0.brokerCanSeeEnd || $0.clientCanSeeEnd }
        guard !ending.isEmpty else { return }
        try seeEnd(random.pick(ending))
    }

    private func seeEnd(_ link: Link) throws {
        if link.clientCanSeeEnd {
            note("\(link.client.name) sees the end of \(link.address)")
            link.hasLeft = true
            if link.client.link === link { link.client.link = nil }
        } else {
            try close(link)
        }
        links.removeAll(where: \.isOver)
        if random.oneIn(4) { core.compact() }
    }

    func close(_ link: Link) throws {
        note("broker sees the end of \(link.address)")
        let (_, after) = turn(link.loop) { [now] core in core.closed(link.id, .closed, at: now) }
        link.isGone = true
        try perform(after)
    }

    // MARK: Coming to rest

    /// Nothing new happens, links hold, clients come back: until there is nothing left to do.
    func comeToRest(reconnecting: Bool = true) throws {
        var rounds = 0
        while true {
            rounds += 1
            try expect(rounds < 100_000, "does not come to rest: \(describeUnrest())")
            now += 1
            let before = (crashes, store.committed)
            var isBusy = try moveEverything()
            try settleStore(taking: true)
            if store.ticket > store.committed || store.committing != nil { try commitAStep() }
            if core.hasPageRequests() || !reading.isEmpty {
                try pageAStep()
                isBusy = true
            }
            for loop in loops.indices where loops[loop].isWoken || loops[loop].isToFeed {
                try run(loop)
                isBusy = true
            }
            if reconnecting {
                for client in clients where client.link == nil {
                    try connect(client)
                    isBusy = true
                }
            }
            links.removeAll(where: \.isOver)
            guard isBusy || (crashes, store.committed) != before || store.committing != nil else { break }
        }
        try expireAll()
    }

    private func moveEverything() throws -> Bool {
        var isBusy = false
        for link in links {
            if link.toBroker.readableBytes > 0 && link.brokerReads {
                try brokerReceives(link, bytes: portion(of: link.toBroker.readableBytes))
                isBusy = true
            }
            if link.toClient.readableBytes > 0 && !link.readsNothing {
                try clientReceives(link, bytes: portion(of: link.toClient.readableBytes))
                isBusy = true
            }
            if link.goesOn && !link.isGone {
                try goOn(link)
                isBusy = true
            }
            if link.brokerCanSeeEnd || link.clientCanSeeEnd {
                try seeEnd(link)
                isBusy = true
            }
        }
        return isBusy
    }

    private func describeUnrest() -> String {
        let busy = links.filter { $0.toBroker.readableBytes > 0 || $0.toClient.readableBytes > 0 || $0.goesOn }
        return "links \(busy.map { "\($0.address) \($0.next)" }), loops \(loops), tickets \(store.ticket)"
    }
}
