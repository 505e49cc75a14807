{# The connected components of a graph, by contraction: each round hooks every node to its smallest
   neighbour, follows the hooks to their roots, and keeps only the edges between different roots; the rounds
   end when no edge is left. (Edges at least halve a round on real graphs; 9 million take six rounds.)

   The model's SQL gives the edges as two columns of whole numbers, left_node and right_node; a node without
   neighbours is an edge to itself. The table has one row a node: node_id, and component_id, one of the
   component's nodes.

   Built piece by piece (`identity_increment()`), the edges are between labels of `stale` (in `meta`), whose identifiers take
   the place of their rows: a component that only grew is one node. #}
{% materialization connected_components, default %}
    {%- set existing_relation = load_cached_relation(this) -%}
    {% set stale = revetl.stale_of_model() %}
    {% set increment = stale is not none and existing_relation is not none and revetl.identity_increment() %}
    {% if increment and not revetl.has_rows(stale.rows, stale.batch) %}
        {% do revetl.nothing_to_do() %}
        {{ return({'relations': [this]}) }}
    {% endif %}
    {% set rounds = revetl.contract_graph(sql) %}
    {% set query = revetl.composed_labels(rounds) %}
    {% if increment %}
        {% do revetl.patch_table(
            'select stale.node_id, labels.component_id from ' ~ stale.rows ~ ' as stale inner join (' ~ query
            ~ ') as labels on stale.label = labels.node_id where ' ~ revetl.is_true('stale.is_seen')
            ~ (' and ' ~ stale.condition if stale.condition else '')) %}
        {% set built = {'relations': [this]} %}
    {% else %}
        {% set built = revetl.build_table_anew(query) %}
    {% endif %}
    {% set left = ['alone', 'edges_' ~ (rounds | length + 1)] %}
    {% for round in rounds %}
        {% do left.append('labels_' ~ round) %}
    {% endfor %}
    {% do revetl.drop_working_tables(left) %}
    {{ return(built) }}
{% endmaterialization %}

{# Run the rounds; gives their numbers, and leaves the working tables `alone` (nodes with themselves) and `labels_N`. #}
{% macro contract_graph(edges_sql) %}
    {% set pairs = revetl.query_to_select_from('pairs', edges_sql) %}
    {% set found = namespace(left=revetl.leave_rows([
        ('alone', 'select distinct left_node as node from ' ~ pairs ~ ' as pairs where left_node = right_node'),
        ('edges_1', 'select distinct least(left_node, right_node) as a, greatest(left_node, right_node) as b from '
            ~ pairs ~ ' as pairs where left_node <> right_node'),
    ])) %}
    {% do revetl.done_selecting_from('pairs') %}

    {% set rounds = [] %}
    {% for round in range(1, 65) %}
        {% if not found.left %}
            {% break %}
        {% endif %}
        {% set found.left = revetl.contract_once(round) %}
        {% do rounds.append(round) %}
    {% endfor %}
    {{ return(rounds) }}
{% endmacro %}

{# One round: `edges_N` to `labels_N` (node to root) and `edges_N+1`; gives whether an edge is left. #}
{% macro contract_once(round) %}
    {% set edges = revetl.working('edges_' ~ round) %}
    {% set hooks = revetl.working('hooks') %}
    {# Hooks lead to ever smaller nodes, so the last step of a way is its least. Most ways are a step or two, and
       only those that are not at their end go on. #}
    {% set ways = [] %}
    {% for step in range(1, 100000) %}
        {% set way = 'way_' ~ step %}
        {% set tables = [('hooks',
            'select node, min(hook) as root from ('
            ~ 'select b as node, min(a) as hook from ' ~ edges ~ ' group by b union all '
            ~ 'select distinct a as node, a as hook from ' ~ edges ~ ') as sides group by node')] if step == 1 else [] %}
        {% set left = revetl.leave_rows(tables + [
            (way, 'select n.node, r.root from ' ~ (revetl.working(ways[-1]) if ways else hooks)
                ~ ' as n inner join ' ~ hooks ~ ' as r on n.root = r.node where r.root <> n.root')]) %}
        {% do ways.append(way) %}
        {% if not left %}
            {% break %}
        {% endif %}
    {% endfor %}
    {% set steps = [] %}
    {% for way in ways %}
        {% do steps.append('select node, root from ' ~ revetl.working(way)) %}
    {% endfor %}
    {% set labels = revetl.working('labels_' ~ round) %}
    {% set left = revetl.leave_rows([
        ('labels_' ~ round,
            'select h.node, coalesce(w.root, h.root) as root from ' ~ hooks ~ ' as h left join ('
            ~ 'select node, min(root) as root from (' ~ steps | join(' union all ') ~ ') as steps group by node'
            ~ ') as w on h.node = w.node'),
        ('edges_' ~ (round + 1),
            'select distinct least(l.root, r.root) as a, greatest(l.root, r.root) as b from ' ~ edges ~ ' as e '
            ~ 'inner join ' ~ labels ~ ' as l on e.a = l.node '
            ~ 'inner join ' ~ labels ~ ' as r on e.b = r.node where l.root <> r.root'),
    ]) %}
    {% do revetl.drop_working_tables(ways + ['hooks', 'edges_' ~ round]) %}
    {{ return(left) }}
{% endmacro %}

{# Follow the hooks (node, root) of the working table `hooks_0` to their ends, which are hooked to themselves;
   gives the name of the working table that has them. #}
{% macro jumped_to_roots() %}
    {# The sum of labels falls with every jump that changes one. #}
    {% set hooks = namespace(now=0, sum=none) %}
    {% for jump in range(1, 65) %}
        {% set before = revetl.working('hooks_' ~ hooks.now) %}
        {% set hooks.now = 1 - hooks.now %}
        {% set total = revetl.working_tables([('hooks_' ~ hooks.now,
            'select n.node, r.root from ' ~ before ~ ' as n inner join ' ~ before ~ ' as r on n.root = r.node')], [
            'select cast(sum(cast(root as ' ~ revetl.type_of('decimal(38, 0)') ~ ')) as ' ~ revetl.type_of('varchar') ~ ') from '
                ~ revetl.working('hooks_' ~ hooks.now)])[0][0] %}
        {% if total == hooks.sum %}
            {% break %}
        {% endif %}
        {% set hooks.sum = total %}
    {% endfor %}
    {% do revetl.drop_working_table('hooks_' ~ (1 - hooks.now)) %}
    {{ return('hooks_' ~ hooks.now) }}
{% endmacro %}

{# Each node's root after all rounds: the last round's labels first, so that each is looked up in as few as there
   are. A node without a label of a round is its own root in it; one without any has no neighbour. #}
{% macro composed_labels(rounds) %}
    {% set alone = 'select a.node as node_id, a.node as component_id from ' ~ revetl.working('alone') ~ ' as a' %}
    {% if not rounds %}
        {{ return(alone) }}
    {% endif %}
    {% set composed = namespace(sql='select node, root from ' ~ revetl.working('labels_' ~ rounds[-1])) %}
    {% for round in rounds[:-1] | reverse %}
        {% set composed.sql = 'select l.node, coalesce(later.root, l.root) as root from '
            ~ revetl.working('labels_' ~ round) ~ ' as l left join (' ~ composed.sql ~ ') as later on l.root = later.node' %}
    {% endfor %}
    {{ return('select node as node_id, root as component_id from (' ~ composed.sql ~ ') as labels union all '
        ~ alone ~ ' where not exists (select 1 from ' ~ revetl.working('labels_1') ~ ' as l where l.node = a.node)') }}
{% endmacro %}

{# A working table's relation: beside the model, under its name. #}
{% macro working(name) %}
    {{ return(api.Relation.create(
        database=this.database, schema=this.schema, identifier=this.identifier ~ '__' ~ name)) }}
{% endmacro %}

{# Make a working table; one may be there from a build that was cut short. #}
{% macro working_table(name, query) %}
    {% do revetl.working_tables([(name, query)]) %}
{% endmacro %}

{# Make working tables (pairs of name and query), each of those before it. #}
{% macro working_tables(tables, more=[]) %}
    {% set relations = [] %}
    {% for name, query in tables %}
        {% do relations.append((revetl.working(name), query)) %}
    {% endfor %}
    {{ return(revetl.make_tables(relations, more)) }}
{% endmacro %}

{# The same; gives whether the last one has rows. #}
{% macro leave_rows(tables) %}
    {% set rows = revetl.working_tables(tables, ['select count(*) from ' ~ revetl.working(tables[-1][0])]) %}
    {{ return(rows[0][0] > 0) }}
{% endmacro %}

{% macro drop_working_table(name) %}
    {% do revetl.drop_working_tables([name]) %}
{% endmacro %}

{% macro drop_working_tables(names) %}
    {% set statements = [] %}
    {% for name in names %}
        {% do statements.append('drop table if exists ' ~ revetl.working(name)) %}
    {% endfor %}
    {% do revetl.run_in_turn(statements) %}
{% endmacro %}
