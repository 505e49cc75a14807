{# The clusters of the contested components, by merging edge by edge (`merge_rounds`): aliases first, which only
   a cut can keep apart and whose identifiers count as one value; then what was seen together, in the order of
   the lower priority of the two, the higher one, and age.

   The model's SQL gives the edges and cuts as `int_revetl__identity_contested` does. The table has one row an identifier:
   node_id, unit_id (one of the identifiers that aliases make one), cluster_id (one of the cluster's). #}
{% materialization clusters_within_limits, default %}
    {% if not revetl.leave_rows([('edges', sql)]) %}
        {% set built = revetl.build_table_anew('select left_node as node_id, left_node as unit_id, left_node as cluster_id from '
            ~ revetl.working('edges')) %}
        {% do revetl.drop_working_table('edges') %}
        {{ return(built) }}
    {% endif %}
    {% do revetl.cluster_within_limits() %}
    {% set built = revetl.build_table_anew(
        'select node_id, unit_id, cluster_id from ' ~ revetl.working('clusters')) %}
    {% do revetl.drop_working_table('clusters') %}
    {{ return(built) }}
{% endmaterialization %}

{# Of the working table `edges`; leaves the working table `clusters` (node_id, unit_id, cluster_id). #}
{% macro cluster_within_limits() %}
    {% set limits = {} %}
    {% for type in revetl.identity_rules().types if type.limits %}
        {% do limits.update({type.name: type.limits}) %}
    {% endfor %}
    {% set edges = revetl.working('edges') %}
    {% set numbered = revetl.working('numbered') %}
    {% set kinds = [] %}
    {% for row in revetl.working_tables([
        ('nodes',
            'select left_node as node, left_type as type, ' ~ revetl.epoch_microseconds('left_seen_at') ~ ' as seen from '
            ~ edges ~ ' ' ~ revetl.union_distinct() ~ ' select right_node, right_type, '
            ~ revetl.epoch_microseconds('right_seen_at') ~ ' from ' ~ edges),
        ('numbered',
            'select kind, least(left_node, right_node) as a, greatest(left_node, right_node) as b, row_number() over ('
            ~ 'order by lower_priority, higher_priority, first_seen_at, left_node, right_node) as ord from ' ~ edges),
    ], ['select distinct kind from ' ~ numbered]) %}
        {% do kinds.append(row[0]) %}
    {% endfor %}
    {% set cuts = 'cut' in kinds %}

    {% set units, nodes = revetl.working('units'), revetl.working('nodes') %}
    {% if 'alias' in kinds %}
        {% do revetl.merge_kind('alias', 'node', {}, cuts) %}
        {% set tables = [('units', 'select n.type, n.seen, n.node, coalesce(r.root, n.node) as unit from '
            ~ nodes ~ ' as n left join ' ~ revetl.working('roots') ~ ' as r on n.node = r.node')] %}
    {% else %}
        {% set tables = [('units', 'select type, seen, node, node as unit from ' ~ nodes)] %}
    {% endif %}
    {% if limits %}
        {% do tables.append(('values_0', 'select unit as cluster, type, min(seen) as seen from ' ~ units ~ ' group by unit, type')) %}
        {% do tables.append(('counts_0', 'select cluster, type, 1 as n from ' ~ revetl.working('values_0'))) %}
    {% endif %}
    {% do revetl.working_tables(tables) %}
    {% do revetl.merge_kind('seen', 'unit', limits, cuts) %}
    {% do revetl.working_tables([('clusters',
        'select u.node as node_id, u.unit as unit_id, coalesce(r.root, u.unit) as cluster_id from '
        ~ units ~ ' as u left join ' ~ revetl.working('roots') ~ ' as r on u.unit = r.node')]) %}
    {% do revetl.drop_working_tables(['edges', 'nodes', 'roots', 'units', 'numbered']) %}
{% endmacro %}

{# Merge the edges of one kind; leaves the working table `roots` (node, root). The ends of an edge are nodes, or
   (`level` is 'unit') the units of the nodes. #}
{% macro merge_kind(kind, level, limits, cuts) %}
    {% set tables = [] %}
    {% for name, kinds, more in [('live_0', kind, ', min(ord) as ord'), ('cuts_0', 'cut', '')] %}
        {% do tables.append((name, 'select a, b' ~ more ~ ' from ('
            ~ ('select a, b, ord, kind from ' ~ revetl.working('numbered') if level == 'node' else
                'select least(l.unit, r.unit) as a, greatest(l.unit, r.unit) as b, e.ord, e.kind from '
                ~ revetl.working('numbered') ~ ' as e inner join ' ~ revetl.working('units') ~ ' as l on e.a = l.node '
                ~ 'inner join ' ~ revetl.working('units') ~ ' as r on e.b = r.node')
            ~ ") as edges where kind = '" ~ kinds ~ "' and a <> b group by a, b")) %}
    {% endfor %}
    {% do revetl.working_tables(tables) %}
    {% do revetl.merge_rounds(limits, cuts) %}
    {% set roots = revetl.merged_roots() %}
    {% do revetl.working_tables([('roots', 'select node, root from ' ~ revetl.working(roots))]) %}
    {% do revetl.drop_working_tables([roots, 'merged']) %}
{% endmacro %}
