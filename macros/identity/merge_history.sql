{# Which profiles were merged when: the edges of a profile, oldest first, merge what they join, and the younger
   of the two is the loser. What was born into a profile is a part of it from its first moment.

   The model's SQL gives the edges within profiles: profile_node, older_node, older_age, younger_node, younger_age
   (ages number a profile's identifiers from the oldest), first_seen_at, is_birth. The table has one row a merge:
   loser_node, survivor_node, merged_at, and the edge that did it, older_node and younger_node. #}
{% materialization merge_history, default %}
    {% if not revetl.leave_rows([('links', sql)]) %}
        {% set built = revetl.build_table_anew('select older_node as loser_node, older_node as survivor_node, '
            ~ 'first_seen_at as merged_at, older_node, younger_node from ' ~ revetl.working('links')) %}
        {% do revetl.drop_working_table('links') %}
        {{ return(built) }}
    {% endif %}
    {% set links = revetl.working('links') %}
    {# Numbered by age, the least of a cluster is its oldest. #}
    {% set nodes = revetl.working('nodes') %}
    {% do revetl.working_tables([('nodes',
        'select node_id, row_number() over (order by profile_node, age) as node from ('
        ~ 'select profile_node, older_node as node_id, older_age as age from ' ~ links
        ~ ' ' ~ revetl.union_distinct() ~ ' select profile_node, younger_node, younger_age from ' ~ links ~ ') as ends'), ('hooks_0',
        'select n.node, coalesce(min(p.node), n.node) as root from ' ~ nodes ~ ' as n '
        ~ 'left join ' ~ links ~ ' as l on n.node_id = l.younger_node and ' ~ revetl.is_true('l.is_birth') ~ ' '
        ~ 'left join ' ~ nodes ~ ' as p on l.older_node = p.node_id group by n.node')]) %}
    {% set roots = revetl.jumped_to_roots() %}
    {% do revetl.working_tables([('numbered',
        'select least(o.root, y.root) as a, greatest(o.root, y.root) as b, e.older_node, e.younger_node, '
        ~ 'e.first_seen_at, row_number() over (order by e.first_seen_at, e.older_node, e.younger_node) as ord from '
        ~ links ~ ' as e inner join ' ~ nodes ~ ' as l on e.older_node = l.node_id '
        ~ 'inner join ' ~ nodes ~ ' as r on e.younger_node = r.node_id '
        ~ 'inner join ' ~ revetl.working(roots) ~ ' as o on l.node = o.node '
        ~ 'inner join ' ~ revetl.working(roots) ~ ' as y on r.node = y.node where o.root <> y.root'),
        ('live_0', 'select a, b, min(ord) as ord from ' ~ revetl.working('numbered') ~ ' group by a, b')]) %}
    {% do revetl.merge_rounds() %}
    {% set built = revetl.build_table_anew(
        'select losers.node_id as loser_node, survivors.node_id as survivor_node, '
        ~ 'e.first_seen_at as merged_at, e.older_node, e.younger_node from '
        ~ revetl.working('merged') ~ ' as m inner join ' ~ revetl.working('numbered') ~ ' as e on m.ord = e.ord '
        ~ 'inner join ' ~ nodes ~ ' as losers on greatest(m.node, m.main) = losers.node '
        ~ 'inner join ' ~ nodes ~ ' as survivors on least(m.node, m.main) = survivors.node '
        ~ 'where m.node <> m.main') %}
    {% do revetl.drop_working_tables([roots, 'links', 'merged', 'numbered', 'nodes']) %}
    {{ return(built) }}
{% endmaterialization %}
