{# Merge the clusters of a graph edge by edge in the order of `ord`, leaving out every edge whose merge would
   break a limit or a cut: what Kruskal's algorithm does one edge after the other, in rounds of SQL.

   An edge that is the first of both its ends is the next thing that happens to either, so all such edges can be
   merged at once. So can the clusters whose own first edge leads to one of the two, or to one of these, and so
   on (16 steps are followed): a star. Along the way to its centre the edges are ever earlier, so its clusters
   join the centre in the order of their own first edges: up to the first edge that leads out of the star, and
   up to the first that would break a rule. An edge whose merge would break a rule now always will, as clusters
   only grow. So the result is the one of the plain algorithm.

   Working tables taken: `live_0` (a, b, ord: clusters as whole numbers, a < b, ord unique), and with `limits`
   (identifier type to window to number) `counts_0` (cluster, type, n) and, where a window is not `ever`,
   `values_0` (cluster, type, seen: microseconds); with `cuts` true `cuts_0` (a, b with a < b).
   Left: `merged` (node, label, ord, main): what took in `node`, at which edge, and under which least number the
   star was then. #}
{% macro merge_rounds(limits={}, cuts=false) %}
    {% set rules = {
        'ever': revetl.limits_of(limits, 'ever'),
        'windows': revetl.windows_of(limits),
        'cuts': cuts,
    } %}
    {% set tables = [
        ('merged', 'select a as node, a as label, ord, a as main from ' ~ revetl.working('live_0') ~ ' where ' ~ revetl.never()),
        ('accepted', 'select node, label, ord, main from ' ~ revetl.working('merged')),
    ] %}
    {% for round in range(1, 100000) %}
        {% set now = round % 2 %}
        {% set tables = (tables if round == 1 else []) + revetl.next_round(now, rules) %}
        {% if not revetl.takes_several_statements() %}
            {# There a step of a query may be a table, made as the query is written. #}
            {% do revetl.working_tables(tables) %}
        {% endif %}
        {% if not revetl.leave_rows((tables if revetl.takes_several_statements() else []) + [revetl.next_edges(now, rules)]) %}
            {% break %}
        {% endif %}
        {% do revetl.working_tables([('accepted', revetl.accepted_merges(now, rules))], [
            'insert into ' ~ revetl.working('merged') ~ ' select node, label, ord, main from '
                ~ revetl.working('accepted') ~ ' where node <> label or main <> node']) %}
    {% endfor %}
    {% do revetl.drop_working_tables(
        ['accepted', 'live_0', 'live_1', 'counts_0', 'counts_1', 'values_0', 'values_1', 'cuts_0', 'cuts_1']) %}
    {% do revetl.drop_steps(['live', 'firsts', 'hooks_2', 'placed']) %}
{% endmacro %}

{# The last round's tables under the labels of `accepted`, as this round's (two names take turns): pairs of name and
   query. #}
{% macro next_round(now, rules) %}
    {% set before = 1 - now %}
    {% set accepted = revetl.working('accepted') %}
    {% set tables = [] %}
    {% set live = 'select a as cluster from ' ~ revetl.working('live_' ~ before)
        ~ ' ' ~ revetl.union_distinct() ~ ' select b from ' ~ revetl.working('live_' ~ before) %}
    {% if rules.ever or rules.windows %}
        {% do tables.append(('counts_' ~ now,
            'select coalesce(m.label, c.cluster) as cluster, c.type, sum(c.n) as n from '
            ~ revetl.working('counts_' ~ before) ~ ' as c inner join (' ~ live ~ ') as l on c.cluster = l.cluster '
            ~ 'left join ' ~ accepted ~ ' as m on c.cluster = m.node group by coalesce(m.label, c.cluster), c.type')) %}
    {% endif %}
    {% if rules.windows %}
        {% do tables.append(('values_' ~ now,
            'select coalesce(m.label, v.cluster) as cluster, v.type, v.seen from '
            ~ revetl.working('values_' ~ before) ~ ' as v inner join (' ~ live ~ ') as l on v.cluster = l.cluster '
            ~ 'left join ' ~ accepted ~ ' as m on v.cluster = m.node')) %}
    {% endif %}
    {% if rules.cuts %}
        {% do tables.append(('cuts_' ~ now, revetl.relabelled('cuts_' ~ before, 'a', 'b'))) %}
    {% endif %}
    {{ return(tables) }}
{% endmacro %}

{# The same of the edges; merges that break a rule are left out. #}
{% macro next_edges(now, rules) %}
    {% set before = 1 - now %}
    {% set broken = revetl.broken_edges(now, rules) %}
    {{ return(('live_' ~ now, revetl.with_steps(
        [('live', revetl.relabelled('live_' ~ before, 'a', 'b', 'min(ord) as ord'))],
        'select live.* from live'
        ~ (' left join (' ~ broken | join(' ' ~ revetl.union_distinct() ~ ' ') ~ ') as broken on live.ord = broken.ord where broken.ord is null'
            if broken else ''),
        ['live'] if broken else []))) }}
{% endmacro %}

{# A table of pairs of clusters under the labels of `accepted`, each pair once. #}
{% macro relabelled(table, a, b, more=none) %}
    {{ return(
        'select a, b' ~ (', ' ~ more if more else '') ~ ' from ('
        ~ 'select least(coalesce(l.label, e.a), coalesce(r.label, e.b)) as a, '
        ~ 'greatest(coalesce(l.label, e.a), coalesce(r.label, e.b)) as b'
        ~ (', e.ord' if more else '') ~ ' from ' ~ revetl.working(table) ~ ' as e '
        ~ 'left join ' ~ revetl.working('accepted') ~ ' as l on e.a = l.node '
        ~ 'left join ' ~ revetl.working('accepted') ~ ' as r on e.b = r.node'
        ~ ') as pairs where a <> b group by a, b') }}
{% endmacro %}

{# Selects of the edges of `live` whose merge would break a rule, by `ord`. #}
{% macro broken_edges(now, rules) %}
    {% set broken = [] %}
    {% if rules.ever %}
        {% do broken.append(
            'select live.ord from live inner join ' ~ revetl.working('counts_' ~ now) ~ ' as l on live.a = l.cluster '
            ~ 'inner join ' ~ revetl.working('counts_' ~ now) ~ ' as r on live.b = r.cluster and l.type = r.type '
            ~ 'inner join (' ~ rules.ever ~ ') as limits on l.type = limits.type where l.n + r.n > limits.most') %}
    {% endif %}
    {% if rules.cuts %}
        {% do broken.append(
            'select live.ord from live inner join ' ~ revetl.working('cuts_' ~ now)
            ~ ' as cuts on live.a = cuts.a and live.b = cuts.b') %}
    {% endif %}
    {% for window in rules.windows %}
        {# The N-th value after one of them is within the window where there are more than N. #}
        {% do broken.append(
            'select ord from (select ends.ord, v.seen, lead(v.seen, ' ~ window.most ~ ') over ('
            ~ 'partition by ends.ord order by v.seen) as later from '
            ~ '(select ord, a as cluster from live union all select ord, b as cluster from live) as ends inner join '
            ~ revetl.working('values_' ~ now) ~ " as v on ends.cluster = v.cluster and v.type = '"
            ~ window.type ~ "') as seen where later < seen + " ~ window.length) %}
    {% endfor %}
    {{ return(broken) }}
{% endmacro %}

{# The merges of one round: node, the label it takes (the least number of what is merged), the edge it is merged
   by, and the least number of the star before it. #}
{% macro accepted_merges(now, rules) %}
    {% set live = revetl.working('live_' ~ now) %}
    {% set stops = revetl.broken_stars(now, rules) %}
    {% set steps = [
        ('sides', 'select a as node, b as other, ord from ' ~ live
            ~ ' union all select b as node, a as other, ord from ' ~ live),
        ('numbered', 'select node, other, ord, '
            ~ 'row_number() over (partition by node order by ord) as place from sides'),
        ('firsts', 'select node, other, ord from numbered where place = 1'),
        ('centres', 'select l.node, least(l.node, r.node) as star from firsts as l '
            ~ 'inner join firsts as r on l.other = r.node and l.ord = r.ord'),
        ('hooks_0', 'select firsts.node, coalesce(centres.star, firsts.other) as hook from firsts '
            ~ 'left join centres on firsts.node = centres.node'),
    ] + revetl.doubled_hooks(4) + [
        ('placed', 'select firsts.node, hooks_4.hook as star, firsts.ord, row_number() over ('
            ~ 'partition by hooks_4.hook order by firsts.ord, firsts.node) as place '
            ~ 'from firsts inner join hooks_4 on firsts.node = hooks_4.node '
            ~ 'inner join centres on hooks_4.hook = centres.node'),
        ('leading_out', 'select placed.star, min(sides.ord) as ord from sides '
            ~ 'inner join placed on sides.node = placed.node '
            ~ 'left join placed as others on sides.other = others.node '
            ~ 'where others.star is null or others.star <> placed.star group by placed.star'),
    ] + ([
        ('stops', 'select star, min(place) as place from (' ~ stops | join(' union all ')
            ~ ') as broken group by star'),
    ] if stops else []) + [
        ('accepted', 'select placed.node, placed.star, placed.ord, placed.place from placed '
            ~ 'left join leading_out on placed.star = leading_out.star '
            ~ ('left join stops on placed.star = stops.star ' if stops else '')
            ~ 'where (leading_out.ord is null or placed.ord < leading_out.ord) '
            ~ ('and (stops.place is null or placed.place < stops.place)' if stops else '')),
    ] %}
    {{ return(revetl.with_steps(
        steps,
        'select node, min(node) over (partition by star) as label, ord, coalesce(min(node) over ('
        ~ 'partition by star order by place rows between unbounded preceding and 1 preceding), node) as main '
        ~ 'from accepted',
        ['firsts', 'hooks_2', 'placed'])) }}
{% endmacro %}

{# Steps that follow the hooks of `hooks_0` twice as far with each. #}
{% macro doubled_hooks(times) %}
    {% set steps = [] %}
    {% for number in range(1, times + 1) %}
        {% set before = 'hooks_' ~ (number - 1) %}
        {% do steps.append(('hooks_' ~ number,
            'select n.node, r.hook from ' ~ before ~ ' as n inner join ' ~ before ~ ' as r on n.hook = r.node')) %}
    {% endfor %}
    {{ return(steps) }}
{% endmacro %}

{# Selects of the places at which the stars of `placed` would break a rule. #}
{% macro broken_stars(now, rules) %}
    {% set broken = [] %}
    {% if rules.ever %}
        {% do broken.append(
            'select sums.star, sums.place from (select placed.star, placed.place, c.type, sum(c.n) over ('
            ~ 'partition by placed.star, c.type order by placed.place '
            ~ 'rows between unbounded preceding and current row) as n from placed inner join '
            ~ revetl.working('counts_' ~ now) ~ ' as c on placed.node = c.cluster) as sums '
            ~ 'inner join (' ~ rules.ever ~ ') as limits on sums.type = limits.type where sums.n > limits.most') %}
    {% endif %}
    {% if rules.cuts %}
        {% do broken.append(
            'select l.star, greatest(l.place, r.place) as place from ' ~ revetl.working('cuts_' ~ now) ~ ' as cuts '
            ~ 'inner join placed as l on cuts.a = l.node '
            ~ 'inner join placed as r on cuts.b = r.node and l.star = r.star') %}
    {% endif %}
    {% for window in rules.windows %}
        {# Of each window that begins with a value: the place at which it has one too many. #}
        {% set seen = 'select placed.star, placed.node, placed.place, v.seen from placed inner join '
            ~ revetl.working('values_' ~ now) ~ " as v on placed.node = v.cluster and v.type = '" ~ window.type ~ "'" %}
        {% do broken.append(
            'select star, place from (select l.star, r.place, row_number() over ('
            ~ 'partition by l.star, l.number order by r.place) as nth from '
            ~ '(select s.*, row_number() over (partition by star order by seen, place) as number from (' ~ seen ~ ') as s) as l '
            ~ 'inner join (' ~ seen ~ ') as r on l.star = r.star and r.seen >= l.seen and r.seen < l.seen + '
            ~ window.length ~ ') as inside where nth = ' ~ (window.most + 1)) %}
    {% endfor %}
    {{ return(broken) }}
{% endmacro %}

{# A select of type and number of the limits of one window; empty where there are none. #}
{% macro limits_of(limits, window) %}
    {% set rows = [] %}
    {% for type, own in limits.items() if window in own %}
        {% do rows.append("select '" ~ type ~ "' as type, " ~ own[window] ~ " as most") %}
    {% endfor %}
    {{ return(rows | join(' union all ')) }}
{% endmacro %}

{# The limits within a time: type, number, and the length in microseconds. #}
{% macro windows_of(limits) %}
    {% set windows = [] %}
    {% for window, days in {'week': 7, 'month': 30, 'year': 365}.items() %}
        {% for type, own in limits.items() if window in own %}
            {% do windows.append({'type': type, 'most': own[window], 'length': days * 86400 * 1000000}) %}
        {% endfor %}
    {% endfor %}
    {{ return(windows) }}
{% endmacro %}

{# Each node's cluster after `merge_rounds`: a select of (node, root) for the nodes that were taken in. #}
{% macro merged_roots() %}
    {# A node that survived a round under another's name is taken in by that one; none is taken in twice. #}
    {% do revetl.working_table('hooks_0',
        'select node, label as root from ' ~ revetl.working('merged') ~ ' where node <> label ' ~ revetl.union_distinct() ~ ' '
        ~ 'select m.label, m.label from ' ~ revetl.working('merged') ~ ' as m where not exists (select 1 from '
        ~ revetl.working('merged') ~ ' as taken where taken.node = m.label and taken.node <> taken.label)') %}
    {{ return(revetl.jumped_to_roots()) }}
{% endmacro %}
