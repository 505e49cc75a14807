{# The clusters of the contested components, by merging edge by edge (`merge_rounds`): aliases first, which only
   a cut can keep apart and whose identifiers count as one value; then what was seen together, in the order of
   the lower priority of the two, the higher one, and age.

   The model's SQL gives the edges and cuts as `identity_contested` does. The table has one row an identifier:
   identifier_id, unit_id (one of the identifiers that aliases make one), cluster_id (one of the cluster's). #}
{% materialization clusters_within_limits, default %}
    {% do revetl.cluster_within_limits(sql) %}
    {% set built = revetl.build_table_anew(
        'select identifier_id, unit_id, cluster_id from ' ~ revetl.working('clusters')) %}
    {% do revetl.drop_working_table('clusters') %}
    {{ return(built) }}
{% endmaterialization %}

{# Leaves the working table `clusters` (identifier_id, unit_id, cluster_id). #}
{% macro cluster_within_limits(edges_sql) %}
    {% set limits = {} %}
    {% for type in revetl.identity_rules().types if type.limits %}
        {% do limits.update({type.name: type.limits}) %}
    {% endfor %}
    {% do revetl.working_table('edges', edges_sql) %}
    {% set edges = revetl.working('edges') %}
    {% do revetl.working_table('nodes',
        'select identifier_id, type, seen, row_number() over (order by identifier_id) as node from ('
        ~ 'select left_id as identifier_id, left_type as type, ' ~ revetl.epoch_microseconds('left_seen_at')
        ~ ' as seen from ' ~ edges ~ ' union select right_id, right_type, '
        ~ revetl.epoch_microseconds('right_seen_at') ~ ' from ' ~ edges ~ ') as ends') %}
    {% do revetl.working_table('numbered',
        'select e.kind, least(l.node, r.node) as a, greatest(l.node, r.node) as b, row_number() over ('
        ~ 'order by e.lower_priority, e.higher_priority, e.first_seen_at, e.left_id, e.right_id) as ord from '
        ~ edges ~ ' as e inner join ' ~ revetl.working('nodes') ~ ' as l on e.left_id = l.identifier_id '
        ~ 'inner join ' ~ revetl.working('nodes') ~ ' as r on e.right_id = r.identifier_id') %}
    {% do revetl.drop_working_table('edges') %}
    {% set cuts = run_query('select count(*) from ' ~ revetl.working('numbered') ~ " where kind = 'cut'").rows[0][0] %}

    {% do revetl.merge_kind('alias', 'node', {}, cuts) %}
    {% do revetl.working_table('units',
        'select n.identifier_id, n.type, n.seen, n.node, coalesce(r.root, n.node) as unit from '
        ~ revetl.working('nodes') ~ ' as n left join ' ~ revetl.working('roots') ~ ' as r on n.node = r.node') %}
    {% do revetl.drop_working_table('roots') %}
    {% do revetl.drop_working_table('nodes') %}
    {% if limits %}
        {% do revetl.working_table('values_0',
            'select unit as cluster, type, min(seen) as seen from ' ~ revetl.working('units') ~ ' group by unit, type') %}
        {% do revetl.working_table('counts_0',
            'select cluster, type, 1 as n from ' ~ revetl.working('values_0')) %}
    {% endif %}
    {% do revetl.merge_kind('seen', 'unit', limits, cuts) %}
    {% do revetl.working_table('clusters',
        'select u.identifier_id, names.identifier_id as unit_id, roots.identifier_id as cluster_id from '
        ~ revetl.working('units') ~ ' as u inner join ' ~ revetl.working('units') ~ ' as names on u.unit = names.node '
        ~ 'left join ' ~ revetl.working('roots') ~ ' as r on u.unit = r.node '
        ~ 'inner join ' ~ revetl.working('units') ~ ' as roots on coalesce(r.root, u.unit) = roots.node') %}
    {% do revetl.drop_working_table('roots') %}
    {% do revetl.drop_working_table('units') %}
    {% do revetl.drop_working_table('numbered') %}
{% endmacro %}

{# Merge the edges of one kind; leaves the working table `roots` (node, root). The ends of an edge are nodes, or
   (`level` is 'unit') the units of the nodes. #}
{% macro merge_kind(kind, level, limits, cuts) %}
    {% for name, kinds, more in [('live_0', kind, ', min(ord) as ord'), ('cuts_0', 'cut', '')] %}
        {% do revetl.working_table(name, 'select a, b' ~ more ~ ' from ('
            ~ ('select a, b, ord, kind from ' ~ revetl.working('numbered') if level == 'node' else
                'select least(l.unit, r.unit) as a, greatest(l.unit, r.unit) as b, e.ord, e.kind from '
                ~ revetl.working('numbered') ~ ' as e inner join ' ~ revetl.working('units') ~ ' as l on e.a = l.node '
                ~ 'inner join ' ~ revetl.working('units') ~ ' as r on e.b = r.node')
            ~ ") as edges where kind = '" ~ kinds ~ "' and a <> b group by a, b") %}
    {% endfor %}
    {% set round = revetl.merge_rounds(limits, cuts) %}
    {% for name in ['live_', 'cuts_', 'counts_', 'values_'] %}
        {% do revetl.drop_working_table(name ~ round) %}
        {% do revetl.drop_working_table(name ~ 0) %}
    {% endfor %}
    {% set roots = revetl.merged_roots() %}
    {% do revetl.working_table('roots', 'select node, root from ' ~ revetl.working(roots)) %}
    {% do revetl.drop_working_table(roots) %}
    {% do revetl.drop_working_table('merged') %}
{% endmacro %}
